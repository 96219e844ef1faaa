"""The present figures of a run, where something shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..config import Config
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

    names = [camera.watch.options.camera or camera.watch.source.name for camera in cameras]
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


def keep_metrics(config: Config, metrics: Metrics | None, stack: contextlib.ExitStack) -> None:
    """Keep ``metrics`` in the file of the configuration while the context of ``stack`` lasts."""
    if metrics is None or config.metrics is None:
        return
    from ..outputs.metrics import FILE_SECONDS, MetricsFile
    from ..periodic import every

    file = MetricsFile(config.metrics, metrics)
    stack.callback(file.close)
    stack.enter_context(every(FILE_SECONDS, file.write, "metrics"))
