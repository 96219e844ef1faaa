"""Writes a store as fast as it can until it is killed: killed_store.py FILE SECONDS.

Its clocks start at SECONDS and go on by a fifth of a second with every result. The time of each result is
printed after it was taken.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from results import BEGAN, face, result, tracked

from fer_edge.outputs.store import StoreOutput


def main(path: str, now: float) -> None:
    output = StoreOutput(path, live=True, clock=lambda: now)
    print("began", flush=True)
    index = 0
    while True:
        # Somebody new comes every two seconds, and stays for six.
        people = [face(track=track) for track in range(max(1, index // 10 - 2), index // 10 + 1)]
        made = result(index=index, timestamp=now - 1000)
        output.write(replace(made, faces=tracked(*people), time=BEGAN + timedelta(seconds=now), dropped=0))
        print(now, flush=True)
        index += 1
        now += 0.2


main(sys.argv[1], float(sys.argv[2]))
