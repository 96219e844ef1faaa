"""Messages with their level where the journal reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TextIO

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Syslog's number for each level from here on; below, it is 7: debug."""


def reads(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether ``stream`` goes to systemd's journal.

    ``JOURNAL_STREAM`` has the device and inode of the stream that systemd connected (systemd.exec(5)); one
    that was redirected since has others.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def with_level(text: str, level: int) -> str:
    """``text`` with the prefix by which the journal tells the level of each of its lines (sd-daemon(3))."""
    number = next((number for least, number in _PRIORITIES if level >= least), 7)
    return "\n".join(f"<{number}>{line}" for line in text.split("\n"))
