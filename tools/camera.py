"""Boot an emulated 64-bit machine with V4L2 cameras and try ``fer-edge run --camera 0`` on it.

``make test-camera`` runs this: Debian's kernel under qemu-system-aarch64 and the root file system of
tools/arm.py, shared over 9p. The cameras are the kernel's ``vivid``, which has raw pixels only, and that of
tools/usb_camera.py, which has JPEG as well and can be unplugged. Not part of continuous integration.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import arm

RELEASE = "bookworm"
PACKAGES = (*arm.PACKAGES, "linux-image-arm64", "busybox-static", "kmod", "util-linux", "mount")
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p")
TIMEOUT = 3600
"""Seconds for everything in the machine, on one that is busy with other work."""

INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
for module in $(busybox cat /modules); do busybox insmod /$module; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 root /root || busybox poweroff -f
exec busybox switch_root /root /bin/bash /camera-cases
"""

CASES = r"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/home/pi LANG=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
chmod 1777 /tmp; ln -sf /proc/self/fd /dev/fd; cd /tmp
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0
chown root:1000 /dev/video0; chmod 660 /dev/video0
pi="setpriv --reuid 1000 --regid 1000 --clear-groups"
# A small detector picture: its floating point takes seconds a frame here, and the camera is what is tried.
run="/home/pi/fer/bin/fer-edge run --detect-size 64 --max-fps 5"
python=/home/pi/fer/bin/python
begin() { echo "@case $1"; }
end() { echo "@exit $1 after $SECONDS s"; }
doctor_camera() {
    $pi /home/pi/fer/bin/fer-edge doctor --camera 2>&1 | grep ' cameras '; return ${PIPESTATUS[0]}
}
probe() { $pi $python /camera-probe 2>&1; }
disturb() {  # CASE OPTIONS COMMAND...: what becomes of a run whose camera is disturbed after the first frame
    begin $1
    rm -f disturbed.jsonl
    $pi $run --camera 0 $2 --jsonl disturbed.jsonl > disturbed.txt 2>&1 & disturbed=$!
    until grep -qs '"type":"frame"' disturbed.jsonl; do kill -0 $disturbed || break; sleep 0.2; done
    "${@:3}"
    wait $disturbed; code=$?; cat disturbed.txt; end $code
}
begin doctor; $pi /home/pi/fer/bin/fer-edge doctor 2>&1; end $?
begin doctor_camera; doctor_camera; end $?
begin format; probe; end $?
begin frames; $pi $run --camera 0 --frames 30 --jsonl frames.jsonl 2>&1; end $?
begin lines; grep '"type":"frame"' frames.jsonl | tee frames.txt | wc -l; tail -n 1 frames.txt; end $?
begin busy
$pi $run --camera 0 --jsonl held.jsonl >/dev/null 2>&1 & held=$!
until [ -s held.jsonl ]; do kill -0 $held || break; sleep 0.2; done
# It keeps the camera, and leaves the processor to the other one.
kill -STOP $held
$pi $run --camera 0 --frames 5 2>&1; end $?
kill -CONT $held; kill -TERM $held; wait $held
begin forbidden; ${pi//1000/1001} $run --camera 0 --frames 5 2>&1; end $?
begin missing; $pi $run --camera 7 --frames 5 2>&1; end $?
unbind() { echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind; }
disturb unplugged "--reconnect off" unbind

modprobe -a vhci-hcd uvcvideo
plug() {  # PORT OPTION...
    $python /usb_camera.py "$@" & camera=$!
    until ls /dev/video* > video.txt 2> /dev/null; do kill -0 $camera || break; sleep 0.2; done
    chown root:1000 /dev/video*; chmod 660 /dev/video*
}
unplug() { kill -KILL $camera; wait $camera; while ls /dev/video* > /dev/null 2>&1; do sleep 0.2; done; }
replug() {  # PORT: unplug, and plug in where another program keeps the number from being free
    exec 9<> /dev/video0
    unplug
    plug $1
    cat video.txt
    until grep -qs '"type":"gap"' disturbed.jsonl; do kill -0 $disturbed || break; sleep 0.2; done
    kill -TERM $disturbed
    exec 9>&-
}
detach() { echo $1 > /sys/devices/platform/vhci_hcd.0/detach; }
plug 0
begin usb_doctor; $pi /home/pi/fer/bin/fer-edge doctor 2>&1; end $?
begin usb_doctor_camera; doctor_camera; end $?
begin usb_format; probe; end $?
begin usb_frames; $pi $run --camera 0 --frames 8 --jsonl usb.jsonl 2>&1; end $?
begin usb_lines; grep '"type":"frame"' usb.jsonl | tee usb.txt | wc -l; tail -n 1 usb.txt; end $?
disturb usb_silent "--reconnect off" kill -USR1 $camera
unplug
plug 1; disturb usb_unplugged "--reconnect off" unplug
plug 2; disturb usb_detached "--reconnect off" detach 2
wait $camera
plug 5
begin usb_by_name; $pi $run --camera usb:1209:0001 --frames 5 2>&1; end $?
disturb usb_replugged "" replug 6
unplug
begin usb_awaited
$pi $run --camera usb:1209:0001 --wait-for-camera --frames 5 > awaited.txt 2>&1 & awaited=$!
until grep -qs 'waiting for it' awaited.txt; do kill -0 $awaited || break; sleep 0.2; done
plug 7
wait $awaited; code=$?; cat awaited.txt; end $code
unplug
plug 3 --formats YUYV
begin usb_raw_format; probe; end $?
begin usb_raw_frames; $pi $run --camera 0 --frames 5 2>&1; end $?
unplug
plug 4 --damaged
begin usb_damaged; $pi $run --camera 0 --frames 12 2>&1; end $?
echo "@done"; sync; /bin/busybox poweroff -f
"""

PROBE = """
import cv2, statistics
from fer_edge.sources import CameraSource
from usb_camera import COUNT, GREY_STEP

numbers = []
with CameraSource(0) as camera:
    for frame in camera:
        numbers.append(round(int(frame.image[-40, 320, 0]) / GREY_STEP))
        if len(numbers) == 12:
            break
    code = int(camera._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
steps = [(later - number) % COUNT for number, later in zip(numbers, numbers[1:])]
print(code, frame.image.shape, frame.image.dtype, "every", statistics.median(steps))
print("across:", frame.image[240, 106::213].tolist()[:3])
"""
"""Prints what was negotiated, which of the camera's pictures arrive, and pixels from left to right."""

BARS = r"across: \[\[25\d, \d, \d\], \[\d, 25\d, \d\], \[\d, \d, 25\d\]\]"
"""The three pixels of tools/usb_camera.py, as near as JPEG and YUV keep them."""

RTSP_PORT = "8555"


@dataclass(frozen=True)
class Expected:
    """What a case must end with: exit code, and words that its output has."""

    code: int
    words: str


GONE = r"camera 0: /dev/video0 is gone; was it unplugged\?"
EXPECTED = {
    "doctor": Expected(0, r"ok +cameras +0 \(vivid"),
    "doctor_camera": Expected(0, r"^ok +cameras +0 \(vivid.*: 640x480, [\d.]+ frames a second"),
    "format": Expected(0, r"^(?!MJPG)\w+ +\(480, 640, 3\) uint8"),
    "frames": Expected(0, r"30 frames in"),
    "lines": Expected(0, r'^30$[\s\S]*"size":\[640,480\]'),
    "busy": Expected(2, r"camera 0: /dev/video0 is busy, in use by .*\(process \d+\)"),
    "forbidden": Expected(2, r"camera 0: no permission for /dev/video0; add yourself to its group"),
    "missing": Expected(2, r"camera 7: there is no /dev/video7; cameras seen: 0 \(vivid"),
    "unplugged": Expected(1, GONE),
    # The camera's second device, which gives metadata, is not listed.
    "usb_doctor": Expected(0, r"ok +cameras +0 \(Emulated camera\)$"),
    "usb_doctor_camera": Expected(0, r"^ok +cameras +0 \(Emulated camera\): 640x480, [\d.]+ frames a second"),
    "usb_format": Expected(0, rf"^MJPG \(480, 640, 3\) uint8 every 1\n{BARS}"),
    "usb_frames": Expected(0, r"8 frames in"),
    "usb_lines": Expected(0, r'^8$[\s\S]*"size":\[640,480\]'),
    "usb_silent": Expected(1, r"camera 0: no frame for 15 s"),
    "usb_unplugged": Expected(1, GONE),
    "usb_detached": Expected(1, GONE),
    "usb_by_name": Expected(0, r"5 frames in"),
    # It was /dev/video0, and the number is not free.
    "usb_replugged": Expected(0, r"^/dev/video[1-9]\n[\s\S]*camera 0: back after .* s\n"),
    "usb_awaited": Expected(0, r"waiting for it\n[\s\S]*usb:1209:0001: there after .* s\n[\s\S]*5 frames in"),
    "usb_raw_format": Expected(0, rf"^YUYV \(480, 640, 3\) uint8 .*\n{BARS}"),
    "usb_raw_frames": Expected(0, r"5 frames in"),
    "usb_damaged": Expected(0, r"12 frames in"),
}


STREAMS = {
    "rtsp": Expected(0, "30 frames in"),
    "rtsp_ends": Expected(1, "rtsp://127.0.0.1:8555/camera: the stream stopped"),
    "rtsp_restarted": Expected(0, "rtsp://127.0.0.1:8555/camera: back after"),
    "rtsp_refused": Expected(2, "rtsp://127.0.0.1:8555/camera: the stream cannot be opened"),
}


def main() -> int:
    """Prepare, boot, and compare; return 0 where every case ended as it must."""
    missing = arm.what_is_missing()
    for tool, package in (("qemu-system-aarch64", "qemu-system-arm"), ("cpio", "cpio"), ("depmod", "kmod")):
        if shutil.which(tool) is None:
            missing = missing or f"sudo apt-get install {package}"
    if missing:
        raise SystemExit(f"make test-camera: {missing}")
    root = arm.root_file_system(RELEASE, PACKAGES, "camera")
    arm.install(root, RELEASE, extras=False)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    ramdisk = initial_ramdisk(root, kernel.name.removeprefix("vmlinuz-"))
    (root / "camera-cases").write_text(CASES)
    (root / "camera-probe").write_text(PROBE)
    shutil.copy(Path(__file__).with_name("usb_camera.py"), root)
    failed = judge(boot(root, kernel, ramdisk))
    return stream() or failed


def initial_ramdisk(root: Path, version: str, init: str = INIT, wanted: Sequence[str] = BOOT_MODULES) -> Path:
    """The modules that reach the root file system, and a program that loads them."""
    subprocess.run(["depmod", "-b", root, version], check=True)
    modules = root / "lib/modules" / version
    built_in = (modules / "modules.builtin").read_text().split()
    needs: dict[str, list[str]] = {Path(file).name.partition(".")[0]: [] for file in built_in}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        needs[Path(file).name.partition(".")[0]] = [*reversed(others.split()), file]
    folder = root.parent / "ramdisk"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bin", "dev", "root"):
        (folder / name).mkdir(parents=True)
    order = list(dict.fromkeys(file for name in wanted for file in needs[name]))
    for file in order:
        content = (modules / file).read_bytes()
        (folder / Path(file).name.removesuffix(".xz")).write_bytes(
            lzma.decompress(content) if file.endswith(".xz") else content
        )
    names = [Path(file).name.removesuffix(".xz") for file in order]
    (folder / "modules").write_text("\n".join(names))
    shutil.copy(root / "bin/busybox", folder / "bin")
    (folder / "init").write_text(init)
    (folder / "init").chmod(0o755)
    archive = root.parent / "ramdisk.cpio"
    packed = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
    with archive.open("wb") as output:
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc"],
            input=packed.encode(),
            stdout=output,
            cwd=folder,
            check=True,
        )
    return archive


def boot(root: Path, kernel: Path, ramdisk: Path) -> str:
    """Run the machine until it powers itself off; return what it wrote to its console."""
    command = [
        *("qemu-system-aarch64", "-M", "virt", "-cpu", os.environ.get("QEMU_CPU", "cortex-a72")),
        *accelerator(),
        *("-m", "1024", "-nographic", "-no-reboot", "-nic", "none"),
        *("-kernel", str(kernel), "-initrd", str(ramdisk), "-append", "console=ttyAMA0 quiet panic=-1"),
        *("-fsdev", f"local,id=root,path={root},security_model=passthrough,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
    ]
    return power_on(command, root.parent / "camera.log", TIMEOUT)


def accelerator() -> list[str]:
    """How QEMU runs a machine: QEMU_ACCEL where that is given, else one processor with a clock of its own.

    While it works, its clock counts its instructions, 250 million a second: time-outs in there mean the same
    however little of this machine's processor QEMU gets.
    """
    given = os.environ.get("QEMU_ACCEL")
    return ["-accel", given, "-smp", "2"] if given else ["-accel", "tcg,thread=single", "-icount", "shift=2"]


def power_on(command: Sequence[str], console: Path, timeout: float) -> str:
    """Run a machine until it powers itself off; return what it wrote to its console, a file.

    Raises SystemExit where that takes more than ``timeout`` seconds.
    """
    started = time.monotonic()
    try:
        with console.open("w") as output:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=timeout
            )
    except subprocess.TimeoutExpired as late:
        raise SystemExit(f"the machine did not finish within {timeout} s; its console: {console}") from late
    print(f"booted, ran and powered off in {time.monotonic() - started:.0f} s; console: {console}")
    return console.read_text(errors="replace").replace("\r", "")


def judge(console: str, wanted: Mapping[str, Expected] = EXPECTED) -> int:
    """Print each case with its verdict; return 1 where one failed."""
    cases = {
        name: (text.strip(), int(code), since)
        for name, text, code, since in re.findall(
            r"^@case (\w+)\n([\s\S]*?)^@exit (\d+)( after \d+ s)?$", console, re.MULTILINE
        )
    }
    failed = 0
    for name, expected in wanted.items():
        text, code, since = cases.get(name, ("did not run", -1, ""))
        good = (
            code == expected.code
            and re.search(expected.words, text, re.MULTILINE)
            and "Traceback" not in text
        )
        failed += not good
        print(f"{'passed' if good else 'FAILED'}  {name}, exit code {code}{since}")
        for line in text.splitlines()[-3:]:
            print(f"        {line[:200]}")
    if failed:
        print(f"\n{console[-6000:]}", file=sys.stderr)
    return 1 if failed else 0


def stream() -> int:
    """Read a local RTSP server on this machine: while it runs, when it goes, and when it comes back."""
    program = shutil.which("fer-edge", path=os.environ.get("FER_EDGE_BIN"))
    server = ["/usr/bin/python3", str(Path(__file__).with_name("rtsp_server.py")), RTSP_PORT, "600"]
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if subprocess.run([server[0], "-c", probe], capture_output=True).returncode:
        packages = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
        print(f"skipped rtsp: sudo apt-get install {packages}")
        return 0
    command = [str(program), "run", f"rtsp://127.0.0.1:{RTSP_PORT}/camera"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        limited = subprocess.run([*command, "--frames", "30"], capture_output=True, text=True, timeout=300)
        ends, ends_told = _reading([*command, "--reconnect", "off"])
        again, again_told = _reading(command)
        time.sleep(10)
        running.kill()
        ends.wait(timeout=120)
    with subprocess.Popen(server, stdout=subprocess.DEVNULL) as running:
        time.sleep(20)
        again.terminate()
        again.wait(timeout=120)
        running.kill()
    refused = subprocess.run(command, capture_output=True, text=True, timeout=300)
    console = "".join(
        f"@case {name}\n{text}\n@exit {code}\n"
        for name, text, code in (
            ("rtsp", limited.stdout + limited.stderr, limited.returncode),
            ("rtsp_ends", ends_told.read_text(), ends.returncode),
            ("rtsp_restarted", again_told.read_text(), again.returncode),
            ("rtsp_refused", refused.stdout + refused.stderr, refused.returncode),
        )
    )
    return judge(console, STREAMS)


def _reading(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], Path]:
    """Start ``command``; return it and the file with what it says."""
    with tempfile.NamedTemporaryFile(suffix=".txt", delete=False) as told:
        return subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT), Path(told.name)


if __name__ == "__main__":
    sys.exit(main())
