"""Boot a machine whose first process is systemd, and try ``fer-edge service`` on it.

``make test-systemd`` runs this: Debian's kernel and user land under QEMU, with a processor of this machine's
kind; QEMU_ACCEL=kvm runs it at full speed, where that works. The machine has two cameras, the kernel's
``vivid``, which come after it has booted. fer-edge is installed by the README's lines. Not part of continuous
integration.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import arm
from camera import Expected, accelerator, initial_ramdisk, judge, power_on

CACHE = arm.REPOSITORY / "build" / "services"
TIMEOUT = 10_800
"""Seconds for everything in the machine: nine minutes by its own clock, an hour where this one is busy."""

MACHINES = {
    "x86_64": ("amd64", "qemu-system-x86_64", "qemu-system-x86", "q35", "Nehalem", "ttyS0"),
    "aarch64": ("arm64", "qemu-system-aarch64", "qemu-system-arm", "virt", "cortex-a72", "ttyAMA0"),
}
"""By the processor: Debian's name of it, QEMU and its package, the board, the processor, the console.

A processor without AVX: with it, NumPy crashes now and then under QEMU 7.2."""

PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "dbus-user-session", "libpam-systemd", "kmod", "procps"),
    *("util-linux", "busybox-static", "python3", "python3-venv", "libstdc++6", "ca-certificates"),
)
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")

INIT = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
for module in $(busybox cat /modules); do busybox insmod /$module; done
busybox mkdir /below /above
busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /below &&
busybox mount -t tmpfs -o size=80% above /above && busybox mkdir /above/files /above/work &&
busybox mount -t overlay -o lowerdir=/below,upperdir=/above/files,workdir=/above/work root /root ||
busybox poweroff -f
exec busybox switch_root /root /sbin/init
"""
"""What is written in the machine is written to memory: each boot finds the same."""

UNIT = """[Unit]
After=multi-user.target

[Service]
ExecStart=/bin/bash /service-cases
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console

[Install]
WantedBy=graphical.target
"""

CASES = r"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 SYSTEMD_COLORS=0
fer=/opt/fer-edge/bin/fer-edge
run="--detect-size 64 --max-fps 5"
begin() { echo "@case $1"; }
end() { echo "@exit $1 after $SECONDS s"; }
shown() {  # UNIT: its state, result, restarts, last exit code and status
    for one in ActiveState Result NRestarts ExecMainStatus StatusText; do
        systemctl show -P $one $1
    done | xargs -d '\n'
    systemctl is-active -q $1 || journalctl -u $1 -o cat -n 40
}
wait_for() {  # UNIT PROPERTY PATTERN SECONDS
    for _ in $(seq $4); do systemctl show -P $2 $1 | grep -qE "$3" && return; sleep 1; done
    echo "after $4 s $2 is not $3"
}
told() {  # UNIT PATTERN: what the journal says of it
    for _ in $(seq 120); do journalctl -u $1 -o cat | grep -m 1 -oE "$2" && return; sleep 1; done
    echo "not told: $2"
}
frames() { wait_for $1 StatusText "frames processed" 60; }

echo
begin boot; wait_for fer-boot StatusText waiting 60; sleep 40; shown fer-boot; end $?
begin camera
modprobe vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0
frames fer-boot; shown fer-boot; end $?
begin killed
systemctl kill -s KILL fer-boot; wait_for fer-boot NRestarts 1 60; frames fer-boot; shown fer-boot; end $?
begin frozen
systemctl kill -s STOP fer-boot; wait_for fer-boot NRestarts 2 120; frames fer-boot; shown fer-boot
journalctl -u fer-boot -o cat | grep -o 'Watchdog timeout'; end $?
begin lost; echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
wait_for fer-boot StatusText waiting 60; sleep 40; shown fer-boot; end $?
begin back; echo vivid.0 > /sys/bus/platform/drivers/vivid/bind; frames fer-boot; shown fer-boot; end $?
begin paused; $fer pause --run fer-boot 2>&1
wait_for fer-boot StatusText paused 60; sleep 40; shown fer-boot; end $?
begin paused_killed; systemctl kill -s KILL fer-boot; wait_for fer-boot NRestarts 3 60
wait_for fer-boot StatusText paused 60; shown fer-boot; end $?
begin resumed; $fer resume --run fer-boot 2>&1; frames fer-boot; shown fer-boot; end $?
begin rights; process=$(systemctl show -P MainPID fer-boot)
ps -o user=,supgrp= -p $process; grep -E 'NoNewPrivs|Seccomp:' /proc/$process/status
nsenter -t $process -m ls -A /home /root | tr '\n' ' '
nsenter -t $process -m touch /etc/x /var/lib/fer-boot/x 2>&1; end $?
begin quiet; journalctl -u fer-boot -o cat | grep -c '^frame '; end $?
begin stop; systemctl stop fer-boot; shown fer-boot; end $?
begin remove; $fer service --remove --name fer-boot 2>&1
systemctl is-enabled fer-boot 2>&1; ls -d /var/lib/fer-boot; end $?
begin bad; $fer service --install --name fer-bad -- $run --camera 1 --model /nowhere.tflite 2>&1; end $?
begin bad_stays; sleep 15; shown fer-bad; journalctl -p err -u fer-bad -o cat | grep nowhere; end $?
begin config; echo 'camera = "1"' > /etc/fer-edge.toml; $fer service --install --name fer-config 2>&1
frames fer-config; shown fer-config; end $?
begin bad_config; echo 'camra = "1"' > /etc/fer-edge.toml; systemctl restart fer-config 2>&1; sleep 15
shown fer-config; journalctl -p err -u fer-config -o cat | grep camra
$fer service --remove --name fer-config; end $?

mkdir /root/secret; chmod 700 /root/secret
echo s3cret:pass/word > /root/secret/camera; echo @TOKEN@ > /root/secret/page
chmod 600 /root/secret/*; snapshots() { /opt/fer-edge/bin/python /snapshots & network=$!; }; snapshots
begin two; lines=/var/lib/fer-two/faces.jsonl
$fer service --install --name fer-two -- $run --camera 0 --camera http://pi@127.0.0.1:8000/now.jpg \
    --password-file /root/secret/camera --jsonl faces.jsonl --append 2>&1
frames fer-two; shown fer-two
for one in camera 127; do
    for _ in $(seq 60); do grep -m 1 -oE '"type":"frame".*"source":"[^"]*'$one $lines && break; sleep 1; done
done | grep -o '"source.*'; end $?
begin two_lost; kill $network; told fer-two '.*opening it again'
before=$(wc -l < $lines); sleep 40; [ $(wc -l < $lines) -gt $((before + 10)) ] && echo goes on
shown fer-two; end $?
begin two_back; snapshots; told fer-two 'now.jpg: back after'; shown fer-two; end $?
$fer service --remove --name fer-two

begin secrets; $fer service --install --name fer-page -- $run http://pi@127.0.0.1:8000/now.jpg \
    --password-file /root/secret/camera --page :8080 --page-token-file /root/secret/page 2>&1
frames fer-page; shown fer-page
ps -o user= -p $(systemctl show -P MainPID fer-page)
grep -oE 'LoadCredential=|DynamicUser=yes' /etc/systemd/system/fer-page.service; end $?
begin page; /opt/fer-edge/bin/python /page-visitor @TOKEN@; end $?
begin untold; journalctl -u fer-page -u fer-two -o cat | grep -cE 's3cret|@TOKEN@'; end $?
kill $network
$fer service --remove --name fer-page

mkdir -p /home/pi/fer; mount --bind /opt/fer-edge /home/pi/fer; chown pi:pi /home/pi; chmod 700 /home/pi
home="/home/pi/fer/bin/python -m fer_edge"
begin home; $home service --install --name fer-home -- $run --camera 1 --jsonl faces.jsonl --append 2>&1
frames fer-home; shown fer-home
systemctl show -P ExecStart fer-home | grep -o 'path=[^ ]*'
until grep -m 1 -o '"type":"frame"' /var/lib/fer-home/faces.jsonl; do sleep 1; done
$home service --remove --name fer-home; end $?

begin readme; @README@ 2>&1; end $?
begin readme_runs; frames fer-edge; shown fer-edge; end $?
begin verify; systemd-analyze verify /etc/systemd/system/fer-edge.service 2>&1; end $?
begin security; systemd-analyze security fer-edge --no-pager | tail -1; end $?
$fer service --remove

usermod -aG video pi; loginctl enable-linger pi
until [ -S /run/user/1000/bus ]; do sleep 1; done
pi="runuser -u pi -- env HOME=/home/pi XDG_RUNTIME_DIR=/run/user/1000"
begin user; $pi $home service --user --install -- $run --camera 0 2>&1; end $?
begin user_runs
for _ in $(seq 60); do
    $pi systemctl --user show -P StatusText fer-edge | grep 'frames processed' && break; sleep 1
done; $pi systemctl --user show -P ActiveState fer-edge; end $?
begin user_remove; $pi $home service --user --remove 2>&1; end $?
echo "@done"; sync; /bin/busybox poweroff -f
"""

TOKEN = "0123456789abcdefghijklmnopqrstuvwxyz"

SNAPSHOTS = """
import base64, http.server
import cv2, numpy

PICTURE = cv2.imencode(".jpg", numpy.full((120, 160, 3), 128, numpy.uint8))[1].tobytes()
ASKED = "Basic " + base64.b64encode(b"pi:s3cret:pass/word").decode()

class Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != ASKED:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(PICTURE)))
        self.end_headers()
        self.wfile.write(PICTURE)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Camera).serve_forever()
"""
"""A network camera that gives pictures for a password."""

VISITOR = """
import json, sys, urllib.error, urllib.request

def asked(path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:8080{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""

print("health", asked("/healthz")[0], "none", asked("/api/state")[0])
print("wrong", asked("/api/state", "x" * 36)[0])
code, body = asked("/api/state", sys.argv[1])
print("right", code, "paused" in json.loads(body))
"""
"""Asks the page with no token, a wrong one, and the right one."""


def running(restarts: int) -> str:
    """What the cases show of a service that processes frames."""
    return rf"^active success {restarts} 0 frames processed: \d+"


WAITING = r"^active success {} 0 waiting for camera: .*/dev/video0"
EXPECTED = {
    # For longer than the watchdog waits.
    "boot": Expected(0, WAITING.format(0)),
    "camera": Expected(0, running(0)),
    "killed": Expected(0, running(1)),
    "frozen": Expected(0, running(2) + r".*\nWatchdog timeout$"),
    "lost": Expected(0, WAITING.format(2)),
    "back": Expected(0, running(2)),
    # For longer than the watchdog waits: a paused run is alive.
    "paused": Expected(0, r"^fer-boot: paused on [\s\S]*^active success 2 0 paused"),
    "paused_killed": Expected(0, "^active success 3 0 paused"),
    "resumed": Expected(0, r"^fer-boot: recognizing on [\s\S]*" + running(3)),
    "rights": Expected(
        1,
        # The user by its number, where ps cannot look up dynamic ones.
        r"^(\S+) +video,\1\nNoNewPrivs:\t1\nSeccomp:\t2\n/home: +/root: +"
        r"touch: cannot touch '/etc/x': Read-only file system$",
    ),
    "quiet": Expected(1, "^0$"),
    "stop": Expected(0, "^inactive success 3 0"),
    "remove": Expected(0, r"^removed the service fer-boot\n[\s\S]*^/var/lib/fer-boot$"),
    "bad": Expected(1, r"systemctl restart fer-bad\.service: Job for fer-bad\.service failed"),
    "bad_stays": Expected(0, r"^failed exit-code 0 2 [\s\S]*\nfer-edge run: .*/nowhere\.tflite"),
    "config": Expected(0, running(0)),
    "bad_config": Expected(
        0, r"^failed exit-code 0 78 [\s\S]*\nfer-edge run: /etc/fer-edge\.toml, line 1: unknown key"
    ),
    "two": Expected(0, running(0) + r'.*\n"source":"camera\n"source":".*127$'),
    "two_lost": Expected(0, r"now\.jpg.*opening it again[\s\S]*\ngoes on\n" + running(0)),
    "two_back": Expected(0, r"now\.jpg: back after\n" + running(0)),
    "secrets": Expected(
        0, running(0) + r".*\n(?!root)\S+\nLoadCredential=\nLoadCredential=\nDynamicUser=yes$"
    ),
    "page": Expected(0, "^health 200 none 401\nwrong 401\nright 200 True$"),
    "untold": Expected(1, "^0$"),
    "home": Expected(0, running(0) + r'.*\npath=/home/pi/fer/bin/python\n"type":"frame"\nremoved'),
    "readme": Expected(0, r"^installed /etc/systemd/system/fer-edge\.service$"),
    "readme_runs": Expected(0, running(0)),
    "verify": Expected(0, r"\A\Z"),
    "security": Expected(0, r"level for fer-edge\.service: [0-2]\.\d OK"),
    "user": Expected(0, r"^installed /home/pi/\.config/systemd/user/fer-edge\.service$"),
    "user_runs": Expected(0, r"frames processed.*\nactive$"),
    "user_remove": Expected(0, "^removed the service fer-edge$"),
}


def main() -> int:
    """Prepare, boot, and compare for each release; return 0 where every case ended as it must."""
    missing = what_is_missing()
    if missing:
        print(f"skipped make test-systemd: {missing}")
        return 0
    failed = 0
    for release in sys.argv[1:]:
        print(f"\n== {release}", flush=True)
        root = CACHE / release / "root"
        make_root(root, release)
        commands = readme_commands((arm.REPOSITORY / "README.md").read_text())
        install(root, release, commands)
        failed |= judge(boot(root, release), EXPECTED)
    return failed


def what_is_missing() -> str | None:
    """What keeps this machine from booting another one, and the remedy."""
    if os.geteuid() != 0:
        return "needs root, for chroot and mounts"
    if platform.machine() not in MACHINES:
        return f"no kernel is named for {platform.machine()}"
    _, qemu, package, *_ = MACHINES[platform.machine()]
    tools = {"mmdebstrap": "mmdebstrap", qemu: package, "cpio": "cpio", "depmod": "kmod"}
    lacking = [package for tool, package in tools.items() if shutil.which(tool) is None]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        lacking.append("debian-archive-keyring")
    return f"sudo apt-get install {' '.join(lacking)}" if lacking else None


def readme_commands(text: str) -> list[str]:
    """The README's three lines that install the service, without ``sudo``."""
    found = re.search(r"^## Run as a service$.*?^```console$(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^\$ sudo (.*?)(?: {2,}#.*)?$", found[1] if found else "", re.MULTILINE)
    if len(lines) != 3 or "service --install" not in lines[2]:
        raise SystemExit('README.md: no three commands with sudo under "Run as a service"')
    return lines


def make_root(root: Path, release: str) -> None:
    """A Debian of ``release`` with a kernel, made at the first call."""
    packages = (*PACKAGES, f"linux-image-{MACHINES[platform.machine()][0]}")
    made = root.with_name("root.made")
    if made.exists() and made.read_text() == repr(packages):
        return
    arm.bootstrap(root, release, packages, "--variant=minbase")
    for command in (
        ["useradd", "-m", "-u", "1000", "-s", "/bin/bash", "pi"],
        ["systemctl", "mask", "getty.target"],
    ):
        subprocess.run(["chroot", root, *command], check=True)
    made.write_text(repr(packages))


def install(root: Path, release: str, commands: list[str]) -> None:
    """Follow the README, but for its last line, which is a case; add a service that starts at boot."""
    wheels = CACHE / release / "wheels"
    wheels.mkdir(exist_ok=True)
    for old in wheels.glob("fer_edge-*"):
        old.unlink()
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(arm.REPOSITORY)]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("fer_edge-*")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--dest", str(wheels)),
            *("--find-links", str(wheels)),
            *(*arm.target_options(release, platform.machine()), f"--platform=linux_{platform.machine()}"),
            f"{wheel}[page]",
        ],
        check=True,
    )
    shutil.rmtree(root / "opt/fer-edge", ignore_errors=True)
    inside = root / "srv/wheels"
    shutil.rmtree(inside, ignore_errors=True)
    shutil.copytree(wheels, inside)
    last = shlex.join(["--root", "/", "--install", "--name", "fer-boot"])
    script = [
        *("set -e", "cd /srv/wheels", *commands[:2]),
        "/opt/fer-edge/bin/pip install 'fer_edge[page]'",
        f"/opt/fer-edge/bin/fer-edge service {last} -- --camera 0 --detect-size 64 --max-fps 5",
    ]
    for command in script[2:]:
        print(f"$ {command}", flush=True)
    variables = [
        "PATH=/usr/sbin:/usr/bin",
        "LANG=C.UTF-8",
        "PIP_NO_INDEX=1",
        "PIP_FIND_LINKS=/srv/wheels",
        "PIP_QUIET=1",
    ]
    subprocess.run(
        ["chroot", root, "/usr/bin/env", "-i", *variables, "/bin/bash", "-c", "\n".join(script)], check=True
    )
    (root / "service-cases").write_text(CASES.replace("@README@", commands[2]).replace("@TOKEN@", TOKEN))
    (root / "snapshots").write_text(SNAPSHOTS)
    (root / "page-visitor").write_text(VISITOR)
    (root / "etc/systemd/system/service-cases.service").write_text(UNIT)
    subprocess.run(["systemctl", f"--root={root}", "enable", "service-cases.service"], check=True)


def boot(root: Path, release: str) -> str:
    """Run the machine until it powers itself off; return what it wrote to its console."""
    _, qemu, _, board, processor, console = MACHINES[platform.machine()]
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    ramdisk = initial_ramdisk(root, kernel.name.removeprefix("vmlinuz-"), INIT, BOOT_MODULES)
    command = [
        *(qemu, "-M", board, "-cpu", processor, *accelerator()),
        *("-m", "2048", "-nographic", "-no-reboot", "-nic", "none"),
        *("-kernel", str(kernel), "-initrd", str(ramdisk)),
        *("-append", f"console={console} quiet loglevel=0 panic=-1 systemd.show_status=0"),
        *("-fsdev", f"local,id=root,path={root},security_model=passthrough,multidevs=remap,readonly=on"),
        *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
    ]
    return power_on(command, CACHE / release / "console.log", TIMEOUT)


if __name__ == "__main__":
    sys.exit(main())
