"""Tells systemd how the service is: ``sd_notify`` without its library.

The protocol is that of sd_notify(3) and sd_watchdog_enabled(3): lines ``NAME=value`` in one datagram to the
Unix socket that ``NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

from ..errors import shortened

_SEND_SECONDS = 1.0
_STATUS_LENGTH = 200

_log = logging.getLogger(__name__)


class Notifier:
    """Sends messages to the service manager at ``address``; without one, every method does nothing.

    ``address``: a path, or ``@`` and a name in the abstract namespace. ``watchdog``: seconds within which the
    manager wants each :meth:`alive`; None where it does not watch. A manager that cannot be reached is told
    once as a warning. A copy in a forked process sends nothing.
    """

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self.watchdog = watchdog
        self._address = address
        self._process = os.getpid()
        self._failed = False

    def ready(self, status: str) -> None:
        """The configuration is valid and the service works, or has reloaded its configuration."""
        self._send("READY=1", _status(status))

    def alive(self, status: str | None = None) -> None:
        """The service does what it is for; to be sent only where that was seen."""
        self._send(*(["WATCHDOG=1"] if self.watchdog else []), *([_status(status)] if status else []))

    def watch_every(self, seconds: float) -> None:
        """Ask the manager to wait so long for each :meth:`alive`; nothing where it does not watch."""
        if self.watchdog:
            self.watchdog = seconds
            self._send(f"WATCHDOG_USEC={_microseconds(seconds)}")

    def extend(self, seconds: float) -> None:
        """Ask for so much time from now until the start, reload or stop that is going on is done."""
        self._send(f"EXTEND_TIMEOUT_USEC={_microseconds(seconds)}")

    def reloading(self) -> None:
        """The configuration is being read again; :meth:`ready` must follow."""
        # systemd compares the time with that of its own signal.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str) -> None:
        """The service is ending."""
        self._send("STOPPING=1", _status(status))

    def _send(self, *lines: str) -> None:
        if self._address is None or not lines or os.getpid() != self._process:
            return
        target = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_SECONDS)
                sender.sendto("\n".join(lines).encode(errors="replace"), os.fsencode(target))
        except OSError as error:
            if not self._failed:
                _log.warning("systemd cannot be told at %s: %s", self._address, error.strerror or error)
            self._failed = True


def notifier_from(environment: MutableMapping[str, str] = os.environ) -> Notifier:
    """The notifier that systemd's variables ask for, which are taken out: programs started later lack them.

    ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``; a watchdog for another process is not ours.
    """
    address = environment.pop("NOTIFY_SOCKET", None)
    interval, process = environment.pop("WATCHDOG_USEC", None), environment.pop("WATCHDOG_PID", None)
    if address is not None and not address.startswith(("/", "@")):
        _log.warning("NOTIFY_SOCKET=%s: neither a path nor @ and a name; systemd is told nothing", address)
        address = None
    return Notifier(address, _watchdog(interval, process) if address else None)


def _watchdog(interval: str | None, process: str | None) -> float | None:
    if interval is None or (process is not None and process != str(os.getpid())):
        return None
    if not (interval.isdecimal() and interval.isascii() and int(interval) > 0):
        _log.warning("WATCHDOG_USEC=%s: not a number of microseconds; no watchdog", shortened(interval))
        return None
    return int(interval) / 1e6


def _status(text: str) -> str:
    return "STATUS=" + shortened(" ".join(text.split()), _STATUS_LENGTH)


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
