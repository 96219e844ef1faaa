"""A button between a GPIO pin and ground, which marks an event."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

from ..errors import DataError, FerEdgeError, MissingExtraError
from .control import Control

_BOUNCE = 0.05
"""Seconds in which the contacts of a button that is pressed may open again."""

_log = logging.getLogger(__name__)


def require_gpiozero() -> None:
    """Raise :class:`~fer_edge.errors.MissingExtraError` where gpiozero is missing."""
    try:
        import gpiozero  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("--gpio-button", "gpiozero", "gpio") from error


@contextlib.contextmanager
def button(control: Control, pin: str) -> Iterator[None]:
    """Let a button at ``pin`` mark an event whenever it is pressed, while the context lasts.

    ``pin``: as gpiozero calls them: ``17`` and ``GPIO17`` are the same, ``BOARD11`` is a place on the header.
    Raises :class:`~fer_edge.errors.MissingExtraError` without gpiozero, and
    :class:`~fer_edge.errors.DataError` where there are no pins, or not this one.
    """
    require_gpiozero()
    import gpiozero

    def press() -> None:
        try:
            control.mark_next()
        except FerEdgeError as error:
            _log.warning("button: %s", error)

    try:
        with warnings.catch_warnings():
            # It tells of each library for pins that it does not find.
            warnings.simplefilter("ignore")
            pressed = gpiozero.Button(int(pin) if pin.isdecimal() else pin, bounce_time=_BOUNCE)
    except gpiozero.exc.BadPinFactory as error:
        raise DataError(
            "--gpio-button: no GPIO pins found; a Raspberry Pi needs the package lgpio, RPi.GPIO or pigpio"
        ) from error
    except gpiozero.exc.GPIOZeroError as error:
        raise DataError(f"--gpio-button {pin}: {error}; give the number of a GPIO, as 17") from error
    except Exception as error:  # of a library for pins, which has errors of its own
        raise DataError(f"--gpio-button {pin}: cannot be used: {error}") from error
    pressed.when_pressed = press
    try:
        yield
    finally:
        pressed.close()
