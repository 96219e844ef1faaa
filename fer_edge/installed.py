"""What pip has installed, and the command that installs it anew."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence


def installed_version(package: str) -> str | None:
    """The version of a package as it is installed, or ``None``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def install_command(wanted: str, instead_of: Sequence[str]) -> str:
    """The command that installs ``wanted`` whole, whatever is there of the packages ``instead_of``.

    Those are uninstalled before, since pip takes a broken one for installed.
    """
    installed = [package for package in instead_of if installed_version(package)]
    # Installing it anew must not replace the NumPy 1 that Bookworm's picamera2 is compiled for.
    numpy = " 'numpy<2'" if (installed_version("numpy") or "").startswith("1.") else ""
    removed = f"pip uninstall -y {' '.join(installed)}; " if installed else ""
    return f"{removed}pip install {wanted}{numpy}"
