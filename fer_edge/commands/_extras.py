"""Extras that a run needs and that are not installed, all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..config import Config
from ..errors import MissingExtraError


def require_extras(config: Config) -> None:
    """Raise :class:`~fer_edge.errors.MissingExtraError` that names every extra ``config`` lacks."""
    missing = []
    for load in _loaders(config):
        try:
            load()
        except MissingExtraError as error:
            missing.append(error)
    if missing:
        raise MissingExtraError.of_all(missing)


def _loaders(config: Config) -> Iterator[Callable[[], object]]:
    """What loads each extra that ``config`` needs, or raises the error of what uses it."""
    sources = [str(camera.config.source) for camera in config.cameras] or [*config.camera]
    if "demo" in sources:
        yield _demo
    if config.page is not None:
        yield _page
    if config.metrics is not None:
        yield _metrics
    if config.mqtt is not None:
        yield _mqtt
    if config.gpio_button is not None:
        yield _gpio


def _demo() -> None:
    from ..sources.demo import require_photo

    require_photo()


def _page() -> None:
    from ..outputs.page import page  # noqa: F401


def _metrics() -> None:
    from ..outputs import metrics  # noqa: F401


def _mqtt() -> None:
    from ..outputs.mqtt.link import require_paho

    require_paho()


def _gpio() -> None:
    from ..control.button import require_gpiozero

    require_gpiozero()
