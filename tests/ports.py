"""Free ports for servers that tests start."""

from __future__ import annotations

import random
import socket

_RANGE = (20_000, 32_000)
"""Below those that Linux gives to connections (net.ipv4.ip_local_port_range), one of which would otherwise
take the port of a server between its end and its next start."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    while True:
        port = random.randrange(*_RANGE)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
