"""Kinds of values that only options of a run take: files, brokers, names of devices and hosts, topics."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import re
from pathlib import Path

from ..errors import DataError
from ..hosts import host_of, plain_address
from ..option import Kind, nonempty


def _jsonl_file(text: str) -> str:
    """An argparse type: a file to write to, and not the picture or film that was to be read."""
    from ..sources.headers import HEAD_BYTES, picture_kind

    path = Path(nonempty(text))
    head = b""
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    if path.is_dir() or picture_kind(head) is not None:
        fault = f"is a {'folder' if path.is_dir() else 'picture'}"
    elif not _is_text(head):
        fault = "holds something other than text"
    else:
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} {fault}, not a file for JSON lines; for stdout give --jsonl - or put --jsonl at the end "
        "of the line"
    )


def _is_text(head: bytes) -> bool:
    """Whether a file that begins with ``head`` holds text, or nothing."""
    # A pulled plug can leave zeros where lines were.
    if head.lstrip(b"\0\r\n")[:1] in (b"", b"{"):
        return True
    try:
        # The last character may be cut.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return re.search(r"[\x00-\x08\x0e-\x1f]", text) is None


def _broker(text: str) -> str:
    """An argparse type: the URL of an MQTT broker."""
    from ..control.broker import parse_broker

    try:
        parse_broker(nonempty(text))
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _device_name(text: str) -> str:
    """An argparse type: what a device is called."""
    if not text.strip() or len(text) > 64 or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no name of a device: 1 to 64 printable characters")
    return text.strip()


def _topic_prefix(text: str) -> str:
    """An argparse type: what topics begin with."""
    if not re.fullmatch(r"[^+#/\0]+(/[^+#/\0]+)*", text) or text.startswith("$"):
        raise argparse.ArgumentTypeError(f"{text!r} is no prefix of topics such as homeassistant")
    return text


def _prom_file(text: str) -> str:
    """An argparse type: a file that the node exporter reads."""
    if Path(nonempty(text)).suffix != ".prom":
        raise argparse.ArgumentTypeError(
            f"{text!r} does not end in .prom; the node exporter reads no other files"
        )
    return text


def _host_name(text: str) -> str:
    """An argparse type: a name or an address by which browsers call a page; a port behind it is left out."""
    host = plain_address(text) or host_of(text)
    if host is None or not (plain_address(host) or re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host)):
        raise argparse.ArgumentTypeError(
            f"{text!r:.80} is not the name of a host, such as shop.example or 192.168.1.20; give it without "
            "http(s):// and path, and each name in full"
        )
    return host


JSONL_FILE = Kind("a file", _jsonl_file)
PROM_FILE = Kind("a file", _prom_file)
BROKER = Kind("the URL of a broker", _broker)
DEVICE_NAME = Kind("the name of a device", _device_name)
HOST_NAME = Kind("the name of a host", _host_name)
TOPIC_PREFIX = Kind("a prefix of topics", _topic_prefix)
