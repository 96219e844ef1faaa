"""Where the page listens, and by which names it may be called."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass

from ...errors import DataError
from ...hosts import host_of, plain_address
from ...option import Address

_SEND_BUFFER = 64 * 1024
"""Bytes of a connection that the kernel holds: a viewer that is slow sees no old pictures."""

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def bound(address: Address) -> socket.socket:
    """Return a socket bound to ``address``, which does not listen yet.

    Raises :class:`~fer_edge.errors.DataError` where the name is unknown, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        told = getattr(error, "strerror", None) or "not a name"
        raise DataError(f"--page {address}: {told}; give :{address.port} for this machine only") from error
    # The first name of a machine may stand for ::1 too, which browsers try second.
    family, kind, protocol, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if family == socket.AF_INET6:
            with contextlib.suppress(OSError):
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.host != "::"))
        listener.bind(place)
    except OSError as error:
        listener.close()
        raise DataError(f"--page {address}: {error.strerror}; {_remedy(address, error)}") from error
    return listener


def outgoing_address() -> str | None:
    """Return this machine's IPv4 address towards other networks, ``None`` without one. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # A datagram socket only chooses its route; TEST-NET-1 (RFC 5737) is nobody's.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _remedy(address: Address, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "ports below 1024 are for root; give a higher one, such as :8080"
    if error.errno == errno.EADDRNOTAVAIL:
        every = Address("::" if ":" in address.host else "0.0.0.0", address.port)
        return f"this machine has no such address; ip addr lists its own, and {every} stands for all of them"
    return f"choose another, or see who has it: ss -tlnp sport = :{address.port}"


def is_loopback(host: str) -> bool:
    """Whether ``host``, an address or ``localhost``, is reached from this machine only. Looks no name up."""
    plain = plain_address(host)
    return host == "localhost" if plain is None else ipaddress.ip_address(plain).is_loopback


def is_private(host: str, names: Collection[str]) -> bool:
    """Whether only people at this machine see a page at ``host``: further ``names`` are those of proxies."""
    return is_loopback(host) and not names


@dataclass(frozen=True)
class Hosts:
    """The names by which the page may be called. Any other is refused, or a foreign page whose name is made
    to lead here (DNS rebinding) could read this one."""

    names: frozenset[str]
    """In lower case."""

    @classmethod
    def of(cls, host: str, more: Collection[str]) -> Hosts:
        """``host``: what the page is bound to; ``more``: further names."""
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        given = {plain_address(name) or name.lower().rstrip(".") for name in (host, *more)}
        return cls(frozenset({*_LOOPBACK_NAMES, own, short, f"{short}.local", *given} - {""}))

    def allow(self, header: str, local: str | None) -> bool:
        """Whether ``header``, the value of ``Host``, is right for a connection to the address ``local``."""
        name = host_of(header)
        if name is None:
            return False
        plain = plain_address(name)
        if plain is None:
            return name in self.names
        # What stands there as an address was not looked up.
        return plain in self.names or (local is not None and plain == plain_address(local))
