"""The window, with an OpenCV that only pretends to have one."""

from __future__ import annotations

import pytest

cv2 = pytest.importorskip("cv2")

from results import result

from fer_edge.errors import FerEdgeError
from fer_edge.outputs.base import OutputClosed, Outputs
from fer_edge.outputs.window import WindowOutput
from fer_edge.pipeline.state import State


def test_window_needs_an_opencv_with_windows(monkeypatch):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    with pytest.raises(FerEdgeError, match=r"opencv-python-headless.*--save-video"):
        WindowOutput()


def test_window_needs_a_display(monkeypatch):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(FerEdgeError, match="DISPLAY"):
        WindowOutput()


@pytest.fixture
def display(monkeypatch):
    """OpenCV with a window in which nobody presses a key, until told otherwise."""
    state = {"key": -1, "visible": 1.0, "shown": 0, "delays": []}
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
    monkeypatch.setattr(cv2, "imshow", lambda title, image: state.update(shown=state["shown"] + 1))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: state["delays"].append(delay) or state["key"])
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, key: state["visible"])
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: state.update(shown=0))
    return state


@pytest.mark.parametrize("change", [{"key": ord("q")}, {"key": 27}, {"visible": 0.0}])
def test_window_ends_the_run_when_it_is_closed(display, change):
    output = WindowOutput()
    output.write(result())
    output.write(result())
    assert display["shown"] == 2
    display.update(change)
    with pytest.raises(OutputClosed):
        output.write(result())
    output.close()
    assert display["shown"] == 0


def test_window_shows_nothing_while_the_run_is_paused_and_takes_keys(display, monkeypatch):
    shown = []
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(image))
    output = Outputs([WindowOutput()], [], live=True)
    output.idle(State("paused"))
    assert shown == [], "there is no window yet"
    output.write(result())
    output.idle(State("waiting", "gone"))
    assert len(shown) == 1
    output.idle(State("paused"))
    assert shown[0].any()
    assert not shown[1].any()
    assert shown[1].shape == shown[0].shape
    display.update(key=ord("q"))
    with pytest.raises(OutputClosed):
        output.idle(State("waiting", "gone"))


def test_window_waits_for_a_key_at_each_image(display):
    WindowOutput(wait=True).write(result())
    WindowOutput().write(result())
    assert display["delays"] == [0, 1]
