"""Names and addresses of hosts, as text."""

from __future__ import annotations

import ipaddress


def plain_address(text: str) -> str | None:
    """An address in its usual form, without zone, IPv4 also where IPv6 carries it; ``None`` for a name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def host_of(header: str) -> str | None:
    """The host of a header ``Host``, in lower case and without port; ``None`` for what is none."""
    if header.startswith("["):
        host, bracket, port = header[1:].partition("]")
        if not bracket or plain_address(host) is None:
            return None
        port = port.removeprefix(":") if port.startswith(":") else port and "x"
    else:
        host, _, port = header.partition(":")
        host = host.rstrip(".")
    if not host or (port and not port.isdecimal()):
        return None
    return host.lower()
