"""What shows a run to others for as long as it lasts: --stats, --metrics, --page, --mqtt.

The outputs of :mod:`._outputs` may be exchanged when the configuration is read again; these may not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config
from ._outputs import Watched

if TYPE_CHECKING:
    from ..control.broker import Broker
    from ..control.control import Control
    from ..outputs.base import Losses, Output, SlowOutput
    from ..outputs.live import Live
    from ..outputs.metrics import Metrics
    from ..outputs.page.page import Door
    from ..pipeline.result import FrameResult
    from ..pipeline.state import State
    from ..pipeline.summary import Summary


@dataclass(frozen=True)
class OpenRun:
    """A run whose sources are open, with all that those who show it need."""

    config: Config
    cameras: Sequence[Watched]
    control: Control
    summary: Callable[[], Summary]
    losses: Callable[[], Mapping[str, Losses]]
    """What the outputs did not write so far."""
    live: bool
    """Whether any source goes on by itself."""
    silence: Callable[[], float]
    """Gives the seconds that may pass without a frame; a camera that is waited for changes them."""
    door: Door | None
    figures: Live | None
    metrics: Metrics | None
    broker: Broker | None


@dataclass(frozen=True)
class Beside:
    """What those who show a run want of it; empty until :func:`add_all` has filled it."""

    direct: list[Output] = field(default_factory=list)
    slow: list[SlowOutput] = field(default_factory=list)
    takers: list[Callable[[FrameResult], None]] = field(default_factory=list)
    """Called with each result before any output is; they must be quick."""
    listeners: list[Callable[[State, str | None], None]] = field(default_factory=list)
    """Called with each state and the camera that it is of, ``None`` for the only one; from any thread."""
    store_readers: list[Callable[[Path], None]] = field(default_factory=list)
    """Called with the file that the run writes from now on, where it gets another one."""
    starts: list[Callable[[contextlib.ExitStack], None]] = field(default_factory=list)
    """Called when all else is ready; what they begin ends with the context."""

    def take(self, result: FrameResult) -> None:
        """Hand over a result."""
        for take in self.takers:
            take(result)

    def on_state(self, state: State, camera: str | None = None) -> None:
        """Hand over a state."""
        for listen in self.listeners:
            listen(state, camera)

    def set_store(self, store: Path) -> None:
        """Let all follow another store."""
        for follow in self.store_readers:
            follow(store)

    def start(self, stack: contextlib.ExitStack) -> None:
        """Begin all of it."""
        for start in self.starts:
            start(stack)


def add_all(beside: Beside, run: OpenRun) -> None:
    """Fill ``beside`` with what the configuration of ``run`` asks for; errors as of each."""
    from ._live import add_figures, add_metrics, add_stats
    from ._mqtt import add_mqtt
    from ._page import add_page

    for add in (add_figures, add_metrics, add_stats, add_page, add_mqtt):
        add(beside, run)
