"""Install the aarch64 wheel on an emulated Raspberry Pi OS user land as the README says, and test it there.

``make test-arm RELEASE=bookworm`` runs this. The root file systems are Debian's, of the release on which
Raspberry Pi OS is based, without compiler and without network; qemu-user runs them as a Pi 4's processor.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CACHE = REPOSITORY / "build" / "arm"
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
PACKAGES = (
    *("ca-certificates", "python3", "python3-venv", "libstdc++6", "libc-bin", "base-files"),
    *("bash", "dash", "coreutils", "sed", "grep", "findutils"),
)
"""Of Raspberry Pi OS Lite, what this project can meet."""

GLIBC = ("2_17", "2_24", "2_26", "2_27", "2_28", "2_34")
"""Older than either release's, as pip wants each named when it downloads for another machine."""

LARGEST_INSTALL = 330_000_000
"""Bytes of site-packages after the installation, as docs/performance.md gives them."""

PROGRAMS = ("tests/commands/test_cli.py", "tests/test_reference.py")
PROCESSOR = (
    *("tests/kernels", "tests/models", *PROGRAMS),
    *(
        f"tests/fer2013/test_{name}.py"
        for name in ("reader", "compression", "bad_rows", "parse_kernel", "votes")
    ),
    *("tests/faces/test_detector.py", "tests/faces/test_engines.py", "tests/faces/test_geometry.py"),
)
"""Tests of what a processor can do otherwise: kernels, runtimes, parsing, and the programs on top of them."""

KERNELS = "c_and_numpy or not numpy"
"""Of tests that try both kernels, those on C and those that compare the two."""

ON_NUMPY = "(numpy or test_cli) and not with_c_and_with_numpy"
"""Of the programs' tests, those that C would decide otherwise; a demo run chooses its kernels by itself."""

NUMPY = ("whole programs on the NumPy path", "1", PROGRAMS, ON_NUMPY)
RUNS = {
    "bookworm": (("tests of what depends on the processor", "0", PROCESSOR, KERNELS), NUMPY),
    "trixie": (("whole programs and runtimes", "0", ("tests/models/test_bundled_model.py", *PROGRAMS), ""),),
}
"""What is run for each release, with FER_EDGE_PURE, files, and pytest's ``-k``. An emulated processor takes
some ten times as long, hence a choice; ``--all`` runs everything."""

EVERYTHING = (("device tests", "0", ("tests",), ""), NUMPY)

TESTS_FAILED = 1
"""Of pytest's exit codes."""

USER = 1000
HOME = "home/pi"
_PROCESSOR = """processor\t: {}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
"""A core of a Pi 4, as its kernel reports it."""

_FILES = {
    "etc/passwd": f"root:x:0:0::/root:/bin/bash\npi:x:{USER}:{USER}::/{HOME}:/bin/bash\n",
    "etc/group": f"root:x:0:\npi:x:{USER}:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    # Without these two XNNPACK does not know the processor and leaves the work to slower kernels, which
    # round differently; the whole of /sys, on the other hand, is of another machine.
    "sys/devices/system/cpu/possible": "0-3\n",
    "sys/devices/system/cpu/present": "0-3\n",
    "etc/pi-cpuinfo": "\n".join(_PROCESSOR.format(index) for index in range(4)),
}


def main() -> int:
    """Do each release; return the exit code of the first pytest that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=" or ".join(PYTHON))
    parser.add_argument("--missing", action="store_true", help="only list what is missing here, exit code 1")
    parser.add_argument("--all", action="store_true", help="run all device tests: most of an hour a release")
    parser.add_argument("--pytest", default="", metavar="OPTIONS", help="further options of pytest")
    arguments = parser.parse_args()
    missing = what_is_missing()
    if arguments.missing:
        print(missing or "nothing")
        return 1 if missing else 0
    if missing:
        raise SystemExit(f"make test-arm: {missing}")
    for release in arguments.releases:
        if release not in PYTHON:
            raise SystemExit(f"make test-arm: no release {release!r}; there are {', '.join(PYTHON)}")
        print(f"\n== {release}: root file system, wheel and dependencies", flush=True)
        root = root_file_system(release)
        install(root, release)
        for name, pure, files, chosen in EVERYTHING if arguments.all else RUNS[release]:
            print(f"\n== {release}: {name}", flush=True)
            code = test(root, release, pure, files, ["-k", chosen, *shlex.split(arguments.pytest)])
            if code:
                return code
    return 0


def what_is_missing() -> str | None:
    """What keeps this machine from running arm64 programs in a root file system, and the remedy."""
    if os.geteuid() != 0:
        return "needs root, for chroot and mounts"
    tools = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux", "ip": "iproute2"}
    lacking = [package for tool, package in tools.items() if shutil.which(tool) is None]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        lacking.append("debian-archive-keyring")
    if platform.machine() != "aarch64" and shutil.which("qemu-aarch64-static") is None:
        lacking += ["qemu-user-static", "binfmt-support"]
    if lacking:
        return f"sudo apt-get install {' '.join(lacking)}"
    if platform.machine() != "aarch64":
        registry = Path("/proc/sys/fs/binfmt_misc")
        if not (registry / "register").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", registry], check=False)
        if not (registry / "qemu-aarch64").exists():
            if shutil.which("update-binfmts") is None:
                return "sudo apt-get install binfmt-support"
            subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=False)
        if not (registry / "qemu-aarch64").exists():
            return "the kernel does not run arm64 programs: binfmt_misc has no qemu-aarch64"
    return None


def bootstrap(root: Path, release: str, packages: Sequence[str], *options: str) -> None:
    """Make a root file system of Debian anew, with these ``packages`` and ``options`` of mmdebstrap."""
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    mirror = os.environ.get("DEBIAN_MIRROR")
    command = [
        *("mmdebstrap", "--quiet", *options, f"--include={','.join(packages)}"),
        *(release, str(root), *([mirror] if mirror else [])),
    ]
    if subprocess.run(command).returncode:
        raise SystemExit(f"mmdebstrap failed for {release}; DEBIAN_MIRROR may name another mirror of Debian")


def root_file_system(release: str, packages: Sequence[str] = PACKAGES, name: str = "root") -> Path:
    """A Debian of ``release`` in build/arm/, made at the first call."""
    root = CACHE / release / name
    made = CACHE / release / f"{name}.made"
    wanted = repr((packages, _FILES))
    if made.exists() and made.read_text() == wanted:
        return root
    merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
    bootstrap(root, release, packages, "--variant=extract", "--arch=arm64", merged)
    for file, content in _FILES.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(content)
    for folder in ("proc", "srv/wheels", "tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    # Nothing is configured in there, as that would need the emulator; pip insists on these.
    authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = "".join(certificate.read_text() for certificate in authorities)
    (root / "etc/ssl/certs/ca-certificates.crt").write_text(bundle)
    made.write_text(wanted)
    return root


def install(root: Path, release: str, extras: bool = True) -> None:
    """Follow the README in an empty home folder, look at what came of it; ``extras`` add what tests need."""
    wheel = download(release)
    home = root / HOME
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    shutil.copy(wheel, home)
    (sdist,) = (REPOSITORY / "dist").glob("fer_edge-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(home, filter="data")
    # Python may keep byte code in its library, too: without it, an emulated program starts by compiling.
    for folder in (home, *(root / "usr/lib").glob("python3*")):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, USER, USER, follow_symlinks=False)
    commands = readme_commands((REPOSITORY / "README.md").read_text())
    for command in commands:
        print(f"$ {command}", flush=True)
    inside(root, release, "\n".join(["set -e", *commands, "fer-edge doctor"]))
    (packages,) = home.glob("fer/lib/python3*/site-packages")
    size = sum(file.lstat().st_size for file in packages.rglob("*"))
    print(f"site-packages: {size / 1e6:.0f} MB without byte code")
    if size > LARGEST_INSTALL:
        raise SystemExit(f"more than {LARGEST_INSTALL / 1e6:.0f} MB")
    if extras:
        add_packages(packages, release)


def add_packages(folder: Path, release: str) -> None:
    """Unpack all downloaded wheels into site-packages, which an emulated pip would take a minute for."""
    for wheel in sorted((CACHE / release / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    for path in folder.rglob("*"):
        os.chown(path, USER, USER, follow_symlinks=False)


def target_options(release: str, machine: str = "aarch64") -> list[str]:
    """What makes the pip of this machine choose wheels for the other one."""
    platforms = [f"--platform=manylinux_{version}_{machine}" for version in GLIBC]
    return [
        *(*platforms, f"--platform=manylinux2014_{machine}", "--implementation=cp"),
        *(f"--python-version={PYTHON[release]}", "--only-binary=:all:"),
    ]


def readme_commands(text: str) -> list[str]:
    """The README's installation on a Pi, less what is in the root file system and what needs a camera."""
    found = re.search(
        r"^## Install on a Raspberry Pi$.*?^```console$(.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    lines = found.group(1).splitlines() if found else []
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    commands = [line for line in commands if not line.startswith(("sudo ", "fer-edge run "))]
    if not any("pip install" in line for line in commands):
        raise SystemExit('README.md: no commands under "Install on a Raspberry Pi"')
    return commands


def download(release: str) -> Path:
    """Fetch the wheels of everything for a release into build/arm/; return ours, fresh from dist/."""
    wheels = sorted((REPOSITORY / "dist").glob("fer_edge-*aarch64.whl"))
    if len(wheels) != 1:
        raise SystemExit("dist/ has no aarch64 wheel: make wheels")
    folder = CACHE / release / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("fer_edge-*"):
        old.unlink()
    wanted = hashlib.sha256((REPOSITORY / "pyproject.toml").read_bytes()).hexdigest()
    complete = folder / "complete"
    if not (complete.exists() and complete.read_text() == wanted):
        command = [
            *(sys.executable, "-m", "pip", "download", "-q", "--dest", str(folder)),
            *(*target_options(release), f"{wheels[0]}[demo,mqtt,onnx,page,plots,test]"),
        ]
        subprocess.run(command, check=True)
        complete.write_text(wanted)
    shutil.copy(wheels[0], folder)
    return wheels[0]


def inside(root: Path, release: str, script: str, check: bool = True, **environment: str) -> int:
    """Run bash commands as the user pi in the root file system, without network; return the exit code."""
    # This shell stays the first process of its namespace, so that all end with it; the outer one would
    # not pass its end on to a process that has changed its user.
    outer = (
        'mount --bind "$1" "$2/srv/wheels" && mount --bind "$2/etc/pi-cpuinfo" "$2/proc/cpuinfo" && '
        'ip link set lo up && chroot --userspec="$3" "$2" "${@:4}"; code=$?; exit $code'
    )
    variables = {
        "HOME": f"/{HOME}",
        "USER": "pi",
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "QEMU_CPU": os.environ.get("QEMU_CPU", "cortex-a72"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/srv/wheels",
        # pip takes the values of its options that begin with --no- the other way round.
        "PIP_NO_COMPILE": "0",
        "PIP_QUIET": "1",
        **environment,
    }
    done = subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", f"--mount-proc={root}/proc"),
            *("bash", "-c", outer, "bash", CACHE / release / "wheels", root, f"{USER}:{USER}"),
            *("/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items())),
            *("/bin/bash", "-c", f"cd\n{script}"),
        ],
        check=False,
    )
    if check and done.returncode:
        raise SystemExit(f"failed in the root file system with exit code {done.returncode}")
    return done.returncode


def test(root: Path, release: str, pure: str, files: Sequence[str], options: Sequence[str]) -> int:
    """Run tests of the unpacked sdist against the installed wheel; return the exit code of pytest."""
    (sources,) = (path.name for path in (root / HOME).glob("fer_edge-*") if path.is_dir())
    command = [
        *("fer/bin/python", "-m", "pytest", "-q", "-o", "cache_dir=/tmp/pytest-cache"),
        *("-c", f"{sources}/pyproject.toml", "--rootdir", sources),
        *("-m", "not toolchain and not heavy", *options),
        *(f"{sources}/{file}" for file in files),
    ]
    code = inside(root, release, shlex.join(command), check=False, FER_EDGE_PURE=pure)
    if code == TESTS_FAILED:
        # Emulated programs are slow at times that a test does not expect; what is wrong fails again.
        print(f"\n== {release}: those that failed, once more", flush=True)
        code = inside(root, release, shlex.join([*command, "--last-failed"]), check=False, FER_EDGE_PURE=pure)
    return code


if __name__ == "__main__":
    sys.exit(main())
