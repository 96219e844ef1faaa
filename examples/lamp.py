"""Light a lamp on a pin of a Raspberry Pi while somebody smiles.

python lamp.py [PIN] [SOURCE]     # an LED with its resistor between GPIO 17 and ground; until Ctrl-C
"""

import contextlib
import math
import sys

from gpiozero import LED

import fer_edge
from fer_edge.pipeline.state import State

HOLD = 1.0
"""Seconds for which the lamp stays on: nobody smiles evenly."""

lamp = LED(int(sys.argv[1]) if len(sys.argv) > 1 else 17)
source = sys.argv[2] if len(sys.argv) > 2 else 0


def on_state(state: State) -> None:
    """Darken the lamp while the camera is lost."""
    if state.name != "running":
        lamp.off()


smiled = -math.inf
with contextlib.suppress(KeyboardInterrupt), lamp, fer_edge.watch(source, on_state=on_state) as results:
    for result in results:
        if any(face.track and face.emotion == "happy" and not face.unsure for face in result.faces):
            smiled = result.timestamp
        lamp.value = result.timestamp - smiled < HOLD
