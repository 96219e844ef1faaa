"""Whether a film's container is broken somewhere before its end: what tells a hole from a pause.

Cameras and screen recorders leave frames out where nothing moves, and write the rest one behind the other
in a container that is whole. Where bytes were lost, its structure breaks: a size leads to no header,
a counter skips.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

_TS_PACKET = 188
_TS_AT_ONCE = 1 << 16
"""Packets that are looked at together."""

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
# Matroska, RFC 9559: what a file, a segment and a cluster may hold; Void and CRC-32 anywhere.
_ANYWHERE = (0xEC, 0xBF)
_TOP = frozenset((0x1A45DFA3, _SEGMENT, *_ANYWHERE))
_IN_SEGMENT = frozenset(
    (0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1941A469, 0x1043A770, _CLUSTER, *_ANYWHERE)
)
_IN_CLUSTER = frozenset((0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, *_ANYWHERE))

_FLV_TAGS = (8, 9, 18)


class _BrokenError(Exception):
    """The structure breaks before the end of the file."""


def is_broken(path: str | os.PathLike[str]) -> bool:
    """Whether the structure of a film file breaks before its end; False for containers not known here.

    Known are MPEG-TS and -PS, Matroska and WebM, FLV, AVI and MP4 with its relatives. A file that was cut
    off is not broken: its structure holds as far as it goes. Reads headers only, but for MPEG-TS, where
    each packet has a counter.
    """
    with Path(path).open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return False
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            walk = _walker(content)
            try:
                if walk is not None:
                    walk(content)
            except _BrokenError:
                return True
            except (struct.error, IndexError):
                return False
    return False


def header_counts_frames(path: str | os.PathLike[str]) -> bool:
    """Whether the container's header tells the number of frames, or the length of the film at its rate."""
    with Path(path).open("rb") as stream:
        head = stream.read(12)
    return _is_avi(head) or head[:4] == _EBML


def _is_avi(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


def _walker(content: mmap.mmap) -> Callable[[mmap.mmap], None] | None:
    head = content[: _TS_PACKET + 1]
    if head[:1] == b"G" and head[_TS_PACKET:] == b"G":
        return _walk_ts
    if head[4:8] == b"ftyp":
        return _walk_mp4
    if _is_avi(head):
        return _walk_avi
    walkers = {_EBML: _walk_matroska, b"FLV\1": _walk_flv, b"\0\0\1\xba": _walk_ps}
    return walkers.get(head[:4])


def _walk_ts(content: mmap.mmap) -> None:
    """ISO/IEC 13818-1: each program's packets with a payload count from 0 to 15."""
    last: dict[int, int] = {}
    for start in range(0, len(content), _TS_PACKET * _TS_AT_ONCE):
        piece = content[start : start + _TS_PACKET * _TS_AT_ONCE]
        whole = len(piece) // _TS_PACKET
        packets = np.frombuffer(piece, np.uint8, whole * _TS_PACKET).reshape(whole, _TS_PACKET)
        if (packets[:, 0] != ord("G")).any():
            raise _BrokenError
        programs = (packets[:, 1] & 0x1F).astype(np.int32) << 8 | packets[:, 2]
        has_payload = packets[:, 3] & 0x10 != 0
        restarts = (packets[:, 3] & 0x20 != 0) & (packets[:, 4] > 0) & (packets[:, 5] & 0x80 != 0)
        for program in np.unique(programs[has_payload]):
            if program == 0x1FFF:  # fills up, and does not count
                continue
            own = has_payload & (programs == program)
            counts = (packets[own, 3] & 15).astype(np.int32)
            steps = np.diff(counts, prepend=last.get(int(program), int(counts[0]))) % 16
            # A packet may be sent twice, and may say that it begins anew.
            if ((steps > 1) & ~restarts[own]).any():
                raise _BrokenError
            last[int(program)] = int(counts[-1])


def _walk_matroska(content: mmap.mmap) -> None:
    at, level = 0, _TOP
    ends = [len(content)]
    while at < len(content):
        while len(ends) > 1 and at >= ends[-1]:
            ends.pop()
            level = _TOP if len(ends) == 1 else _IN_SEGMENT
        mark, at = _ebml_number(content, at, keep_mark=True)
        if mark not in level and level is _IN_CLUSTER and mark in _IN_SEGMENT:
            # Clusters of a live recording do not know where they end.
            ends.pop()
            level = _IN_SEGMENT
        if mark not in level:
            raise _BrokenError
        length, at = _ebml_number(content, at)
        if mark in (_SEGMENT, _CLUSTER):
            ends.append(len(content) if length < 0 else min(at + length, len(content)))
            level = _IN_SEGMENT if mark == _SEGMENT else _IN_CLUSTER
        else:
            at += max(length, 0)
            if at > ends[-1] and ends[-1] < len(content):
                raise _BrokenError


def _ebml_number(content: mmap.mmap, at: int, keep_mark: bool = False) -> tuple[int, int]:
    """The number of variable length at ``at``, -1 where it says unknown, and where it ends."""
    first = content[at]
    length = 9 - first.bit_length()
    if length > 8 or (keep_mark and length > 4):
        raise _BrokenError
    value = int.from_bytes(content[at : at + length], "big")
    if keep_mark:
        return value, at + length
    most = (1 << 7 * length) - 1
    return (-1 if value & most == most else value & most), at + length


def _walk_flv(content: mmap.mmap) -> None:
    (at,) = struct.unpack_from(">I", content, 5)
    at += 4
    while at + 11 < len(content):
        length = int.from_bytes(content[at + 1 : at + 4], "big")
        if content[at] & 0x1F not in _FLV_TAGS:
            raise _BrokenError
        at += 11 + length
        if at + 4 <= len(content) and struct.unpack_from(">I", content, at) != (11 + length,):
            raise _BrokenError
        at += 4


def _walk_ps(content: mmap.mmap) -> None:
    """ISO/IEC 11172-1 and 13818-1: pack headers, and packets that know their length."""
    at = 0
    while at + 14 < len(content):
        if content[at : at + 3] != b"\0\0\1":
            raise _BrokenError
        code = content[at + 3]
        if code == 0xBA:
            at += 12 if content[at + 4] >> 4 == 2 else 14 + (content[at + 13] & 7)
        elif code == 0xB9:
            at += 4
        elif code >= 0xBB:
            at += 6 + int.from_bytes(content[at + 4 : at + 6], "big")
        else:
            raise _BrokenError


def _walk_avi(content: mmap.mmap) -> None:
    at = 12
    while at + 8 <= len(content):
        mark = content[at : at + 4]
        (length,) = struct.unpack_from("<I", content, at + 4)
        if mark == b"LIST" and content[at + 8 : at + 12] in (b"movi", b"rec "):
            at += 12
            continue
        if mark == b"RIFF":  # OpenDML goes on in further ones
            at += 12
            continue
        known = mark in (b"LIST", b"JUNK", b"idx1") or mark[:2] == b"ix" or mark[:2].isdigit()
        if not known or at + 8 + length > len(content) >= at + 8 + 2 * _LONGEST_AVI_CHUNK:
            raise _BrokenError
        at += 8 + length + length % 2


_LONGEST_AVI_CHUNK = 1 << 24


def _walk_mp4(content: mmap.mmap) -> None:
    at, number = 0, None
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        mark = content[at + 4 : at + 8]
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, at + 8)
            header = 16
        elif length == 0:
            return
        if length < header or not mark.isalnum():
            raise _BrokenError
        if mark == b"moof":
            found = content.find(b"mfhd", at, at + 64)
            if found >= 0:
                (following,) = struct.unpack_from(">I", content, found + 8)
                if number is not None and following > number + 1:
                    raise _BrokenError
                number = following
        at += length
