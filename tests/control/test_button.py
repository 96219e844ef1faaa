"""A button at a GPIO pin, on gpiozero's mock pins."""

from __future__ import annotations

import pytest

pytest.importorskip("cv2")
gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed")

from control.test_control import Sessions
from gpiozero.pins.mock import MockFactory
from pipeline.several import Recognizer, Script

from fer_edge.control import button as button_module
from fer_edge.control.button import button
from fer_edge.control.control import Control
from fer_edge.errors import DataError, MissingExtraError
from fer_edge.pipeline.options import WatchOptions
from fer_edge.pipeline.watch import Watch


@pytest.fixture
def pins(monkeypatch):
    factory = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    monkeypatch.setattr(button_module, "_BOUNCE", None)
    yield factory
    factory.reset()


@pytest.fixture
def control():
    with Watch(Script(), WatchOptions(), Recognizer()) as run:
        yield Control(run, Sessions())


@pytest.mark.parametrize("name", ["17", "GPIO17", "BOARD11"])
def test_each_press_marks_an_event(pins, control, name):
    with button(control, name):
        pin = pins.pin(17)
        for _ in range(2):
            pin.drive_low()
            pin.drive_high()
        control.mark("A")
        pin.drive_low()
    (start, *marks) = control._store.asked
    # The first press begins a session, called by the time of day.
    assert start == ("start", control.session)
    assert marks == [("mark", name, None) for name in ("event 1", "event 2", "A", "event 3")]
    pin.drive_high()
    pin.drive_low()
    assert len(control._store.asked) == 5, "released at the end"


def test_a_press_that_cannot_be_recorded_is_told(pins, control, caplog):
    control.set_store(None)
    with button(control, "17"):
        pins.pin(17).drive_low()
    assert caplog.messages == [
        "button: this run has no store to keep sessions in; start it with --store FILE.db"
    ]


@pytest.mark.parametrize("name", ["99", "x", "BOARD1"])
def test_a_pin_that_is_none_is_refused(pins, control, name):
    with (
        pytest.raises(DataError, match=f"--gpio-button {name}: .*; give the number of a GPIO, as 17"),
        button(control, name),
    ):
        pass


def test_a_machine_without_pins_is_told(monkeypatch, control):
    def without(*_, **__):
        raise gpiozero.exc.BadPinFactory("Unable to load any default pin factory!")

    monkeypatch.setattr(gpiozero, "Button", without)
    with pytest.raises(DataError, match="no GPIO pins found"), button(control, "17"):
        pass


def test_without_gpiozero_the_extra_is_named(monkeypatch, control):
    monkeypatch.setitem(__import__("sys").modules, "gpiozero", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fer-edge\[gpio\]'"), button(control, "17"):
        pass
