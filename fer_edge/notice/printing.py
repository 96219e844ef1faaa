"""Printing HTML as PDF, by a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..errors import OutputError
from ..files import atomic_path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")

_SECONDS = 120.0
"""A Raspberry Pi that swaps takes a minute."""


def browser() -> str:
    """Return the path of a browser that prints; raises :class:`~fer_edge.errors.OutputError` for none."""
    for name in BROWSERS:
        if (path := shutil.which(name)) is not None:
            return path
    raise OutputError(
        "no browser that prints PDF found; run apt install chromium, or print the HTML of --out elsewhere"
    )


def print_pdf(text: str, path: str | os.PathLike[str]) -> None:
    """Write the HTML page ``text`` to ``path`` as PDF.

    Raises :class:`~fer_edge.errors.OutputError` where there is no browser, or it fails.
    """
    program = browser()
    # A profile of its own: the browser of somebody who is logged in would be asked otherwise.
    with tempfile.TemporaryDirectory(prefix="fer-edge-") as folder, atomic_path(path) as target:
        page, printed = Path(folder, "page.html"), Path(folder, "page.pdf")
        page.write_text(text, encoding="utf-8")
        command = [
            program,
            "--headless",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={printed}",
            page.as_uri(),
        ]
        if os.geteuid() == 0:
            # It refuses to run as root otherwise; the page is ours, and loads nothing.
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise OutputError(f"{program}: printed nothing in {_SECONDS:.0f} s") from error
        if not printed.is_file():
            last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
            raise OutputError(f"{program}: could not print: {last}")
        target.write_bytes(printed.read_bytes())
