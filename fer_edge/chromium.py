"""Printing a page of HTML into a PDF, by Chromium without a window."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .errors import MissingExtraError, OutputError
from .files import atomic_path

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "brave-browser",
)

_SECONDS = 120
"""A Raspberry Pi that swaps takes a minute."""


class MissingBrowserError(MissingExtraError):
    """No browser that can print is installed."""

    def __init__(self) -> None:
        ImportError.__init__(
            self,
            "--pdf needs Chromium or Chrome, and none is installed (sudo apt install chromium), or print "
            "the page from any browser",
        )


def browser() -> str:
    """Return the path of a browser that can print; raises :class:`MissingBrowserError` without one."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    raise MissingBrowserError


def write_pdf(html: str, target: str | os.PathLike[str]) -> None:
    """Print the page ``html`` into the PDF ``target``, in one step.

    Raises :class:`MissingBrowserError`, and :class:`~fer_edge.errors.OutputError` where the browser fails.
    """
    program = browser()
    with tempfile.TemporaryDirectory(prefix="fer-edge-") as folder, atomic_path(target) as temporary:
        page, made = Path(folder) / "page.html", Path(folder) / "page.pdf"
        page.write_text(html, encoding="utf-8")
        command = [
            program,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-extensions",
            # With that of somebody who is logged in, the window that is open already would be asked.
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            "--print-to-pdf-no-header",
            f"--print-to-pdf={made}",
            page.as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses to run as root with its sandbox. The page is ours and loads nothing.
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OutputError(f"{target}: {program} did not finish within {_SECONDS} s") from error
        except OSError as error:
            raise OutputError(f"{target}: {program} cannot be started: {error.strerror}") from error
        if not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise OutputError(f"{target}: {program} made no PDF (exit code {done.returncode}): {said}")
        shutil.copyfile(made, temporary)
