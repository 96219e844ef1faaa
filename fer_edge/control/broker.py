"""The address of an MQTT broker, and a device's credentials for it."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..credentials import handed_over
from ..errors import DataError, SourceError
from ..sources.password import with_password
from ..sources.urls import without_secrets

if TYPE_CHECKING:
    import ssl

ROOT = "fer-edge"
"""What topics begin with unless the URL has a path."""

FORM = "mqtt[s]://[USER@]HOST[:PORT][/PREFIX]"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_WILDCARDS = re.compile(r"[+#\0]")


@dataclass(frozen=True)
class Broker:
    """A broker, and what is needed to be let in."""

    host: str
    port: int
    tls: bool = False
    root: str = ROOT
    """What all topics begin with."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None
    """File with the certificates that are trusted; ``None``: those of the system."""
    certificate: str | None = None
    """File with a certificate of this client."""
    key: str | None = None
    """File with the key of that certificate."""

    @property
    def place(self) -> str:
        """What messages call it: without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_broker(url: str) -> Broker:
    """Return the broker that ``url`` names.

    Raises :class:`~fer_edge.errors.DataError` for anything but ``mqtt[s]://[user[:password]@]host[:port][/prefix]``.
    """
    # Without a scheme it is no URL, from which a password would be taken away.
    told = without_secrets(url) if "://" in url else url.rpartition("@")[2]
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DataError(f"{told}: {error}; a broker is {FORM}") from error
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise DataError(f"{told}: is not the URL of a broker; give {_meant(told) or FORM}")
    if port == 0:
        raise DataError(f"{told}: no broker listens on port 0; give 1 to 65535, or none for {_PORTS[scheme]}")
    if parts.query or parts.fragment:
        raise DataError(f"{told}: the URL of a broker ends with its prefix; give {FORM}")
    root = urllib.parse.unquote(parts.path).strip("/") or ROOT
    if _WILDCARDS.search(root) or root.startswith("$") or "//" in root:
        raise DataError(f"{told}: a prefix of topics has no +, no #, no empty parts and no $ at its start")
    return Broker(
        parts.hostname,
        _PORTS[scheme] if port is None else port,
        scheme == "mqtts",
        root,
        _unquoted(parts.username),
        _unquoted(parts.password),
    )


def _meant(told: str) -> str | None:
    """The URL of a broker that was given without its scheme."""
    if "//" in told or not re.fullmatch(r"[\w.-]+(:\d+)?(/.*)?", told):
        return None
    secure = re.search(rf":{_PORTS['mqtts']}\b", told)
    return f"{'mqtts' if secure else 'mqtt'}://{told}"


def _unquoted(text: str | None) -> str | None:
    return None if text is None else urllib.parse.unquote(text)


def broker_of(
    url: str, password_file: str | None = None, ca: str | None = None, pair: tuple[str, str] | None = None
) -> Broker:
    """Return the broker at ``url`` with all that is needed to be let in.

    ``password_file``: holds the password of the user in ``url``. ``ca``: see :class:`Broker`. ``pair``:
    files with certificate and key. Raises :class:`~fer_edge.errors.DataError` where these do not fit the URL
    or cannot be read.
    """
    if password_file is not None:
        try:
            url = with_password(url, password_file, "--mqtt-password-file", "mqtt[s]://USER@HOST")
        except SourceError as error:
            raise DataError(str(error)) from error
    broker = parse_broker(url)
    for option, given in (("--mqtt-ca", ca), ("--mqtt-cert", pair)):
        if given and not broker.tls:
            raise DataError(f"{option} is for TLS; give mqtts://{broker.place}")
    certificate, key = pair or (None, None)
    for option, file in (("--mqtt-ca", ca), ("--mqtt-cert", certificate), ("--mqtt-cert", key)):
        if file and not handed_over(Path(file)).is_file():
            raise DataError(f"{option} {file}: no such file")
    return Broker(
        broker.host, broker.port, broker.tls, broker.root, broker.user, broker.password, ca, certificate, key
    )


def tls_context(broker: Broker) -> ssl.SSLContext:
    """Return what checks the broker's certificate and name, and shows the client's certificate.

    Raises :class:`~fer_edge.errors.DataError` for files that hold no certificate or a key that does not fit.
    """
    import ssl

    try:
        context = ssl.create_default_context(cafile=broker.ca)
    except (ssl.SSLError, OSError) as error:
        raise DataError(
            f"--mqtt-ca {broker.ca}: {_reason(error)}; a PEM file of certificates is needed"
        ) from error
    if broker.certificate:
        try:
            # Without a password for it, OpenSSL would ask at the terminal.
            key = handed_over(Path(broker.key)) if broker.key else None
            context.load_cert_chain(broker.certificate, key, password=_no_password)
        except (ssl.SSLError, OSError) as error:
            raise DataError(
                f"--mqtt-cert {broker.certificate},{broker.key}: {_reason(error)}; two PEM files are needed, "
                "the key without a password"
            ) from error
    return context


def _no_password() -> str:
    return ""


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
