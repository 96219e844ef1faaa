"""The present figures of a run, where something shows, counts or logs them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..config import Config
from ._beside import Beside, OpenRun
from ._outputs import Watched

if TYPE_CHECKING:
    from ..outputs.base import Losses
    from ..outputs.live import Live
    from ..outputs.metrics import Metrics


def live_of(
    config: Config, cameras: Sequence[Watched], told: Callable[[], Mapping[str, Any]] = dict
) -> Live | None:
    """The figures of a run over ``cameras``; ``None`` where nothing shows them.

    ``told``: what was asked of the run, as :class:`~fer_edge.outputs.live.Live` takes it.
    """
    if config.metrics is None and config.page is None and config.mqtt is None:
        return None
    from ..outputs.live import Live

    names = [camera.watch.camera for camera in cameras]
    return Live(names, device=config.mqtt_name, store=config.store, told=told)


def metrics_of(
    config: Config,
    live: Live | None,
    cameras: Sequence[Watched],
    losses: Callable[[], Mapping[str, Losses]],
) -> Metrics | None:
    """The figures for Prometheus; ``None`` where nobody reads them."""
    if live is None or (config.metrics is None and config.page is None):
        return None
    from .. import __version__
    from ..outputs.metrics import Metrics

    classifier = cameras[0].watch.recognizer.classifier
    build = {
        "version": __version__,
        "model": classifier.model,
        "backend": classifier.backend,
        "precision": classifier.precision,
    }
    return Metrics(live, build, losses)


def add_figures(beside: Beside, run: OpenRun) -> None:
    """Keep the figures of ``run`` up to date, where something shows them."""
    if run.figures is not None:
        beside.takers.append(run.figures.take)
        beside.listeners.append(run.figures.on_state)


def add_metrics(beside: Beside, run: OpenRun) -> None:
    """Count for Prometheus, and keep the file of ``--metrics``."""
    metrics, path = run.metrics, run.config.metrics
    if metrics is None:
        return
    beside.takers.append(metrics.take)
    if path is None:
        return
    from ..outputs.metrics import FILE_SECONDS, MetricsFile
    from ..periodic import every

    def start(stack: contextlib.ExitStack) -> None:
        file = MetricsFile(path, metrics)
        stack.callback(file.close)
        stack.enter_context(every(FILE_SECONDS, file.write, "metrics"))

    beside.starts.append(start)


def add_stats(beside: Beside, run: OpenRun) -> None:
    """Log the figures of ``--stats``."""
    seconds = run.config.stats
    if not seconds:
        return
    from ..outputs.stats import StatsOutput
    from ..periodic import every

    stats = StatsOutput(run.summary)
    beside.direct.append(stats)
    beside.starts.append(lambda stack: stack.enter_context(every(seconds, stats.log, "stats")))
