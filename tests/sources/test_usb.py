"""USB cameras by what they are: a tree as the kernel and udev make it, without cameras."""

from __future__ import annotations

import re

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from fer_edge.errors import SourceError, SourceLostError, WrongSourceError
from fer_edge.sources import (
    await_any,
    cameras,
    device_of,
    is_camera,
    open_any,
    open_camera,
    open_source,
    place_name,
    usb,
    v4l2,
)
from fer_edge.sources.reconnect import AbsentSource
from fer_edge.sources.usb import UsbCamera, camera_on_usb, find_usb_camera, finder


class Bus:
    """Cameras that can be plugged in and unplugged; each has a node for pictures and one for metadata."""

    def __init__(self, root):
        self.dev, self.sys, self.devices = root / "dev", root / "sys" / "video4linux", root / "devices"
        for folder in (self.dev / "v4l" / "by-path", self.dev / "v4l" / "by-id", self.sys, self.devices):
            folder.mkdir(parents=True)
        self.metadata = set()

    def plug(self, number, port="1-1", product="082d", serial="", interface="00", metadata=True):
        device = self.devices / port
        function = device / f"{port}:1.{int(interface)}"
        function.mkdir(parents=True)
        (device / "idVendor").write_text("046D\n")
        (device / "idProduct").write_text(f"{product}\n")
        if serial:
            (device / "serial").write_text(f"{serial}\n")
        (function / "bInterfaceNumber").write_text(f"{interface}\n")
        for index in range(1 + metadata):
            name = f"video{number + index}"
            (self.dev / name).touch()
            (self.sys / name).mkdir()
            (self.sys / name / "name").write_text("Webcam\n")
            (self.sys / name / "index").write_text(f"{index}\n")
            (self.sys / name / "device").symlink_to(function)
            link = f"pci-0000:00:14.0-usb-0:{port[2:]}:1.{int(interface)}-video-index{index}"
            (self.dev / "v4l/by-path" / link).symlink_to(self.dev / name)
            if index:
                self.metadata.add(name)
        return self.dev / "v4l/by-path" / link.replace("index1", "index0")

    def unplug(self, number, port="1-1"):
        for name in (f"video{number}", f"video{number + 1}"):
            if (self.dev / name).exists():
                (self.dev / name).unlink()
                self.bury(self.sys / name)
        for link in (self.dev / "v4l").rglob("*-index*"):
            if not link.exists():
                link.unlink()
        self.bury(self.devices / port)

    def bury(self, folder):
        gone = len(list(self.devices.glob("gone-*")))
        folder.rename(self.devices / f"gone-{gone}")


class Capture:
    """``cv2.VideoCapture`` that shows its number, until the device is gone."""

    opened: list[int] = []  # noqa: RUF012
    bus = None

    def __init__(self, index, backend):
        self.index = index
        self.opened.append(index)

    def isOpened(self):
        return True

    def set(self, key, value):
        return True

    def get(self, key):
        return 30.0 if key == cv2.CAP_PROP_FPS else 0.0

    def grab(self):
        return (self.bus.dev / f"video{self.index}").exists()

    def retrieve(self):
        return True, np.full((48, 64, 3), self.index, np.uint8)

    def read(self):
        return self.retrieve() if self.grab() else (False, None)

    def release(self):
        pass


@pytest.fixture
def bus(tmp_path, monkeypatch):
    made = Bus(tmp_path.resolve())
    for module in (cameras, usb, v4l2):
        monkeypatch.setattr(module, "DEV", made.dev)
    for module in (cameras, usb):
        monkeypatch.setattr(module, "SYS", made.sys)
    for module in (cameras, v4l2):
        monkeypatch.setattr(module, "captures_video", lambda device: device.name not in made.metadata)
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.setattr(Capture, "opened", [])
    monkeypatch.setattr(Capture, "bus", made)
    return made


def shown(source):
    """Which device the next frame of a source comes from, and what the source calls itself."""
    frame = next(iter(source))
    return int(frame.image[0, 0, 0]), frame.name


def lost(source):
    with pytest.raises(SourceLostError):
        list(source)
    source.close()


def test_a_camera_is_what_the_kernel_says(bus):
    bus.plug(0, "1-1.2", serial="8F2A 01")
    assert camera_on_usb(0) == UsbCamera("046d", "082d", "8F2A 01", "00", "0", "1-1.2")
    assert str(camera_on_usb(0)) == "usb:046d:082d:8F2A 01"
    (bus.dev / "video4").touch()
    assert camera_on_usb(4) is None


@pytest.mark.parametrize("spec", ["usb:046d:082d", "USB:046D:082D", "usb:046d:082d:8F2A"])
def test_a_camera_is_found_by_its_name(bus, spec):
    bus.plug(0, "1-1", product="0825")
    bus.plug(2, "1-2", serial="8F2A")
    assert find_usb_camera(spec) == 2
    assert shown(open_camera(spec)) == (2, spec)
    assert is_camera(spec)


def test_what_a_camera_is_called_makes_it_no_other_device(bus):
    link = bus.plug(2, "1-2", serial="8F2A")
    names = ("usb:046d:082d", "USB:046D:082D:8F2A", str(bus.dev / "video2"), str(link))
    assert len({device_of(name) for name in (*names, "2")}) == 1
    bus.unplug(2, "1-2")
    assert device_of("USB:046D:082D") == "usb:046d:082d"


def test_equal_cameras_are_not_taken_for_one_device(bus):
    bus.plug(0, "1-1", serial="A1")
    bus.plug(2, "1-2", serial="B2")
    names = ("usb:046d:082d:A1", "usb:046d:082d:B2", "usb:046d:082d")
    assert len({device_of(name) for name in names}) == 3


def test_nodes_of_metadata_are_no_cameras(bus):
    """Also where the kernel gave them the lower number."""
    bus.plug(4)
    bus.metadata = {"video4"}
    assert find_usb_camera("usb:046d:082d") == 5


def test_of_two_lenses_the_first_is_taken(bus):
    bus.plug(4, "1-1", interface="00", metadata=False)
    function = bus.devices / "1-1" / "1-1:1.2"
    function.mkdir()
    (function / "bInterfaceNumber").write_text("02\n")
    (bus.dev / "video2").touch()
    (bus.sys / "video2").mkdir()
    (bus.sys / "video2" / "device").symlink_to(function)
    assert find_usb_camera("usb:046d:082d") == 4


def test_a_camera_with_two_formats_keeps_the_one_that_was_opened(bus):
    bus.plug(0)
    bus.metadata = set()
    assert find_usb_camera("usb:046d:082d") == 0
    first, second = finder(0), finder(1)
    bus.unplug(0)
    bus.plug(4)
    bus.metadata = set()
    assert (first(), second()) == (4, 5)


def test_two_equal_cameras_are_told_apart_by_serial_or_port(bus):
    first = bus.plug(0, "1-1", serial="A1")
    second = bus.plug(2, "1-2", serial="B2")
    with pytest.raises(WrongSourceError, match="several cameras have this name") as error:
        open_camera("usb:046d:082d")
    assert str(error.value).endswith(f"{first}, {second}")
    assert find_usb_camera("usb:046d:082d:B2") == 2
    assert shown(open_camera(str(second))) == (2, str(second))


def test_without_udev_the_devices_are_named(bus):
    bus.plug(0, "1-1")
    bus.plug(2, "1-2")
    for link in (bus.dev / "v4l/by-path").iterdir():
        link.unlink()
    with pytest.raises(WrongSourceError, match=re.escape(f"{bus.dev}/video0, {bus.dev}/video2")):
        find_usb_camera("usb:046d:082d")


def test_a_camera_that_is_not_plugged_in_is_told_with_those_that_are(bus):
    bus.plug(0, product="0825", serial="8F2A")
    with pytest.raises(SourceError, match=rf"seen: usb:046d:0825:8F2A \({bus.dev}/video0\)$") as error:
        open_camera("usb:046d:082d")
    assert not isinstance(error.value, WrongSourceError)
    with pytest.raises(SourceError, match="no such camera is plugged in"):
        open_camera("usb:046d:0825:other")


@pytest.mark.parametrize("spec", ["usb:", "usb:46d:082d", "usb:046d", "usb:046d:082g", "usb:046d:082d:"])
def test_a_name_that_is_none_says_what_one_looks_like(bus, spec):
    with pytest.raises(WrongSourceError, match=r"as in usb:046d:082d; seen: none"):
        open_camera(spec)


# Paths


def test_a_link_is_a_camera(bus):
    link = bus.dev / "v4l" / "by-id" / "usb-046d_Webcam-video-index0"
    bus.plug(2)
    link.symlink_to("../../video2")
    own = bus.dev.parent / "door"
    own.symlink_to(link)
    for path in (link, own):
        assert is_camera(str(path))
        assert shown(open_any(path)) == (2, str(path))
        assert shown(open_source(path)) == (2, str(path))


def test_a_link_is_followed_anew_when_it_is_opened_again(bus):
    path = bus.plug(2)
    source = open_camera(str(path))
    assert shown(source)[0] == 2
    bus.unplug(2)
    lost(source)
    with pytest.raises(SourceError, match="no such camera is plugged in"):
        source.reopen()
    assert bus.plug(6) == path
    again = source.reopen()
    assert shown(again) == (6, str(path))
    assert again.reopen is not None


def test_a_link_to_metadata_is_reported(bus):
    path = str(bus.plug(2)).replace("index0", "index1")
    with pytest.raises(WrongSourceError, match=r"gives no pictures.*-index0, or one of.* 2 \(Webcam\)"):
        open_camera(path)


def test_a_device_that_is_no_camera_is_reported():
    with pytest.raises(WrongSourceError, match="/dev/null: is no camera"):
        open_camera("/dev/null")


# Under another number


@pytest.mark.parametrize("spec", ["0", "usb:046d:082d", "/dev/video0"])
@pytest.mark.parametrize(("number", "port"), [(0, "1-1"), (3, "1-1"), (3, "2-4.1")])
def test_a_camera_that_is_plugged_in_again_is_found_under_any_number(bus, spec, number, port):
    bus.plug(0)
    source = open_camera(spec)
    name = source.name
    assert shown(source) == (0, name)
    bus.unplug(0)
    lost(source)
    with pytest.raises(SourceError, match="usb:046d:082d is not plugged in"):
        source.reopen()
    bus.plug(8, "1-7", product="0825")
    bus.plug(number, port)
    assert shown(source.reopen()) == (number, name)
    assert shown(source.reopen().reopen()) == (number, name)


def test_another_camera_that_got_the_number_is_not_taken(bus):
    bus.plug(0, serial="A1")
    source = open_camera("0")
    bus.unplug(0)
    bus.plug(0, "1-2", serial="B2")
    with pytest.raises(SourceError, match="usb:046d:082d:A1 is not plugged in"):
        source.reopen()


def test_of_equal_cameras_the_port_decides(bus):
    """The one that is left is the neighbour's."""
    bus.plug(0, "1-1")
    bus.plug(2, "1-2")
    find = finder(0)
    assert find() == 0
    bus.unplug(0, "1-1")
    with pytest.raises(SourceError, match=r"not plugged in at port 1-1, and equal cameras"):
        find()
    bus.plug(4, "1-1")
    assert find() == 4


def test_the_port_that_decides_is_where_the_camera_was_found_last(bus):
    """An equal one at its former port is the neighbour's."""
    bus.plug(0, "1-1.1")
    source = open_camera("0")
    bus.unplug(0, "1-1.1")
    lost(source)
    with pytest.raises(SourceError, match="is not plugged in"):
        source.reopen()
    bus.plug(2, "1-1.2")
    source = source.reopen()
    assert shown(source)[0] == 2
    bus.plug(4, "1-1.1")
    assert shown(source.reopen())[0] == 2
    bus.unplug(2, "1-1.2")
    with pytest.raises(SourceError, match=r"not plugged in at port 1-1\.2, and equal cameras"):
        source.reopen()


@pytest.mark.parametrize("stalls", [False, True])
def test_an_equal_camera_that_came_later_is_not_taken(bus, stalls):
    """Whether the first one was opened again beside it or not."""
    bus.plug(0, "1-1")
    source = open_camera("0")
    bus.plug(2, "1-2")
    if stalls:
        source = source.reopen()
    bus.unplug(0, "1-1")
    lost(source)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"not plugged in at port 1-1, and equal cameras"):
            source.reopen()
    bus.plug(4, "1-1")
    assert shown(source.reopen())[0] == 4


def test_of_two_that_come_while_a_camera_is_missed_none_is_taken(bus):
    bus.plug(0, "1-1")
    find = finder(0)
    bus.unplug(0, "1-1")
    with pytest.raises(SourceError, match="is not plugged in"):
        find()
    bus.plug(2, "1-2")
    bus.plug(4, "1-3")
    with pytest.raises(SourceError, match="cannot be told apart"):
        find()
    bus.unplug(4, "1-3")
    with pytest.raises(SourceError, match="cannot be told apart"):
        find()


def test_a_camera_with_a_serial_number_is_known_at_once_at_another_port(bus):
    """As a USB 3 camera that falls back to USB 2, before it is looked for."""
    bus.plug(0, "2-1", serial="8F2A")
    bus.plug(6, "1-3", serial="B2")
    source = open_camera("0")
    bus.unplug(0, "2-1")
    bus.plug(2, "1-1", serial="8F2A")
    lost(source)
    source = source.reopen()
    assert shown(source) == (2, "camera 0")
    assert shown(source.reopen())[0] == 2


@pytest.mark.parametrize("later", [False, True])
def test_a_serial_number_that_two_cameras_have_tells_none(bus, later):
    """``later``: the second one comes after the first was opened, and is seen when that stalls."""
    bus.plug(0, "1-1", serial="0001")
    if not later:
        bus.plug(2, "1-2", serial="0001")
    find = finder(0)
    if later:
        bus.plug(2, "1-2", serial="0001")
        assert find() == 0
    bus.unplug(0, "1-1")
    with pytest.raises(SourceError, match=r"not plugged in at port 1-1, and equal cameras"):
        find()


def test_a_camera_that_changed_its_port_too_fast_is_taken_once_it_was_away(bus):
    bus.plug(0, "2-1")
    source = open_camera("0")
    bus.unplug(0, "2-1")
    bus.plug(2, "1-1")
    lost(source)
    for _ in range(2):
        with pytest.raises(SourceError, match=r"not plugged in at port 2-1, and equal cameras"):
            source.reopen()
    bus.unplug(2, "1-1")
    with pytest.raises(SourceError, match=r"is not plugged in$"):
        source.reopen()
    bus.plug(4, "1-1")
    assert shown(source.reopen())[0] == 4


def test_of_two_that_were_away_none_is_taken_for_the_other(bus):
    """As where a hub loses its power, and the neighbour is back first."""
    bus.plug(0, "1-1")
    bus.plug(2, "1-2")
    find = finder(0)
    bus.unplug(0, "1-1")
    bus.unplug(2, "1-2")
    with pytest.raises(SourceError, match=r"is not plugged in$"):
        find()
    bus.plug(2, "1-2")
    with pytest.raises(SourceError, match=r"not plugged in at port 1-1, and equal cameras"):
        find()
    bus.plug(0, "1-1")
    assert find() == 0


def test_a_camera_that_is_not_on_usb_keeps_its_number(bus):
    (bus.dev / "video3").touch()
    source = open_camera("3")
    assert shown(source.reopen()) == (3, "camera 3")


# Waiting for one


def test_a_camera_is_waited_for_under_each_of_its_names(bus):
    link = f"{bus.dev}/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"
    waiting = {name: await_any(name) for name in (0, "usb:046d:082d", link)}
    assert all(isinstance(source, AbsentSource) for source in waiting.values())
    assert [source.name for source in waiting.values()] == ["camera 0", "usb:046d:082d", link]
    for source in waiting.values():
        with pytest.raises(SourceError):
            source.reopen()
    bus.plug(0)
    assert [shown(source.reopen())[0] for source in waiting.values()] == [0, 0, 0]


def test_what_stands_for_a_camera_has_the_name_that_it_will_have(bus):
    waiting = [await_any(name) for name in ("0", "00")]
    bus.plug(0)
    assert [shown(source.reopen()) for source in waiting] == [(0, source.name) for source in waiting]
    assert open_camera("/dev/video0").name == place_name("/dev/video0") == "camera 0"


@pytest.mark.parametrize("name", ["film.mp4", "-", "", "usb:nonsense"])
def test_what_is_no_camera_is_not_waited_for(bus, name):
    with pytest.raises(WrongSourceError):
        await_any(name)
