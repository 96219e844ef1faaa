"""Matroska, fragmented MP4 and AVI, written so that a file can be played while it grows.

A container turns packets of MPEG-4 video into bytes and does no input or output itself: ``head`` begins
a file, ``chunk`` continues it, and ``patches`` says which bytes near its beginning hold the length so
far. A file that ends after any chunk is whole. Formats: RFC 9559 (Matroska), ISO/IEC 14496-12 and -14
(MP4), Microsoft's AVI RIFF reference.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Packet:
    """One encoded picture."""

    data: bytes
    seconds: float
    """Since the beginning of the file."""
    duration: float
    """Seconds until the next picture."""
    key: bool
    """Whether it can be decoded without the ones before it."""


class Container(Protocol):
    """One file in the making."""

    def head(self, width: int, height: int, private: bytes) -> bytes:
        """Return the beginning; ``private``: the headers of the MPEG-4 stream, without a picture."""

    def chunk(self, packets: Sequence[Packet]) -> bytes:
        """Return the continuation; the first packet is a key one, times increase."""

    def patches(self) -> list[tuple[int, bytes]]:
        """Return positions and the bytes to write there, which describe all chunks so far."""


class Matroska:
    """A segment of unknown size, a cluster a chunk, times in milliseconds. ``fps``: where it is constant."""

    def __init__(self, fps: float | None = None) -> None:
        self._fps = fps
        self._duration_at = 0
        self._end = 0.0

    def head(self, width: int, height: int, private: bytes) -> bytes:
        """Return the EBML header, Info and Tracks."""
        ebml = _element(
            "1A45DFA3",
            _element("4286", b"\1"),
            _element("42F7", b"\1"),
            _element("42F2", b"\4"),
            _element("42F3", b"\x08"),
            _element("4282", b"matroska"),
            _element("4287", b"\4"),
            _element("4285", b"\2"),
        )
        info = _element(
            "1549A966",
            _element("2AD7B1", (1_000_000).to_bytes(4)),
            _element("4D80", b"fer-edge"),
            _element("5741", b"fer-edge"),
            _element("4489", struct.pack(">d", 0)),
        )
        track = _element(
            "AE",
            _element("D7", b"\1"),
            _element("73C5", b"\1"),
            _element("83", b"\1"),
            _element("9C", b"\0"),
            _element("23E383", round(1e9 / self._fps).to_bytes(8)) if self._fps else b"",
            _element("86", b"V_MPEG4/ISO/ASP"),
            _element("63A2", private),
            _element("E0", _element("B0", width.to_bytes(4)), _element("BA", height.to_bytes(4))),
        )
        unknown_size = b"\x01" + 7 * b"\xff"
        before = ebml + bytes.fromhex("18538067") + unknown_size + info
        # The duration is the last thing in Info.
        self._duration_at = len(before) - 8
        return before + _element("1654AE6B", track)

    def chunk(self, packets: Sequence[Packet]) -> bytes:
        """Return a cluster."""
        start = round(packets[0].seconds * 1000)
        blocks = [
            _element(
                "A3",
                struct.pack(">BhB", 0x81, round(packet.seconds * 1000) - start, 0x80 if packet.key else 0),
                packet.data,
            )
            for packet in packets
        ]
        self._end = packets[-1].seconds + packets[-1].duration
        return _element("1F43B675", _element("E7", start.to_bytes(8)), *blocks)

    def patches(self) -> list[tuple[int, bytes]]:
        """Return the duration in Info."""
        return [(self._duration_at, struct.pack(">d", self._end * 1000))]


def _element(identifier: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes.fromhex(identifier) + (len(body) | 1 << 56).to_bytes(8) + body


class FragmentedMp4:
    """A movie without samples and a fragment a chunk, times in 1/90000 s."""

    _SCALE = 90_000
    _MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)

    def __init__(self) -> None:
        self._fragments = 0
        self._duration_at = 0
        self._end = 0

    def head(self, width: int, height: int, private: bytes) -> bytes:
        """Return ftyp and moov."""
        scale, matrix = self._SCALE, self._MATRIX
        # ISO/IEC 14496-1 descriptors: ES > decoder configuration > the headers; 0x20 is MPEG-4 video.
        specific = _descriptor(5, private)
        decoder = _descriptor(4, struct.pack(">BBxxxII", 0x20, 0x11, 0, 0), specific)
        elementary = _descriptor(3, struct.pack(">HB", 1, 0), decoder, _descriptor(6, b"\2"))
        entry = _box(
            "mp4v",
            struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 72 << 16, 72 << 16, 0, 1, 24, -1),
            _box("esds", bytes(4), elementary),
        )
        table = _box(
            "stbl",
            _box("stsd", struct.pack(">II", 0, 1), entry),
            *(_box(name, bytes(8)) for name in ("stts", "stsc", "stco")),
            _box("stsz", bytes(12)),
        )
        data_here = _box("dref", struct.pack(">II", 0, 1), _box("url ", b"\0\0\0\1"))
        media = _box(
            "mdia",
            _box("mdhd", struct.pack(">IIIIIHH", 0, 0, 0, scale, 0, 0x55C4, 0)),
            _box("hdlr", struct.pack(">II4s12x", 0, 0, b"vide"), b"fer-edge\0"),
            _box("minf", _box("vmhd", struct.pack(">I8x", 1)), _box("dinf", data_here), table),
        )
        track_header = struct.pack(">IIIIII8xHHHH", 3, 0, 0, 1, 0, 0, 0, 0, 0, 0) + matrix
        movie = _box(
            "moov",
            _box(
                "mvhd",
                struct.pack(">IIIIIIH10x", 0, 0, 0, scale, 0, 0x10000, 0x100),
                matrix,
                bytes(24),
                b"\0\0\0\2",
            ),
            _box("trak", _box("tkhd", track_header, struct.pack(">II", width << 16, height << 16)), media),
            _box(
                "mvex",
                _box("trex", struct.pack(">IIIIII", 0, 1, 1, 0, 0, 0)),
                _box("mehd", struct.pack(">IQ", 1 << 24, 0)),
            ),
        )
        before = _box("ftyp", b"isom", bytes(4), b"isomiso5mp42") + movie
        # The duration is the last thing in moov.
        self._duration_at = len(before) - 8
        return before

    def chunk(self, packets: Sequence[Packet]) -> bytes:
        """Return moof and mdat."""
        self._fragments += 1
        ticks = [round(packet.seconds * self._SCALE) for packet in packets]
        last = packets[-1]
        self._end = round((last.seconds + last.duration) * self._SCALE)
        samples = b"".join(
            struct.pack(">III", following - at, len(packet.data), 0x02000000 if packet.key else 0x01010000)
            for packet, at, following in zip(packets, ticks, [*ticks[1:], self._end], strict=True)
        )

        def fragment(data_offset: int) -> bytes:
            return _box(
                "moof",
                _box("mfhd", struct.pack(">II", 0, self._fragments)),
                _box(
                    "traf",
                    _box("tfhd", struct.pack(">II", 0x020000, 1)),
                    _box("tfdt", struct.pack(">IQ", 1 << 24, ticks[0])),
                    _box("trun", struct.pack(">IIi", 0x000701, len(packets), data_offset), samples),
                ),
            )

        header = fragment(len(fragment(0)) + 8)
        return header + _box("mdat", *(packet.data for packet in packets))

    def patches(self) -> list[tuple[int, bytes]]:
        """Return the duration in mehd."""
        return [(self._duration_at, struct.pack(">Q", self._end))]


def _box(name: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, name.encode()) + body


def _descriptor(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    size = len(body)
    return bytes((tag, 0x80 | size >> 21, 0x80 | size >> 14 & 127, 0x80 | size >> 7 & 127, size & 127)) + body


class Avi:
    """Pictures at a constant ``rate`` a second; an empty one repeats the picture before it."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._frames = 0
        self._size = 0
        self._positions = (0, 0, 0)

    def head(self, width: int, height: int, private: bytes) -> bytes:
        """Return the headers and the beginning of the list of pictures."""
        scale, rate = 1000, round(1000 * self._rate)
        main = struct.pack(
            "<14I", round(1e6 / self._rate), 0, 0, 0x100, 0, 0, 1, 0, width, height, 0, 0, 0, 0
        )
        stream = struct.pack(
            "<4s4sIHHIIIIIIiI4H",
            b"vids",
            b"XVID",
            0,
            0,
            0,
            0,
            scale,
            rate,
            0,
            0,
            0,
            -1,
            0,
            0,
            0,
            width,
            height,
        )
        bitmap = struct.pack(
            "<IiiHH4sIiiII", 40 + len(private), width, height, 1, 24, b"XVID", 3 * width * height, 0, 0, 0, 0
        )
        streams = _riff("LIST", b"strl", _riff("strh", stream), _riff("strf", bitmap, private))
        headers = _riff("LIST", b"hdrl", _riff("avih", main), streams)
        before = b"RIFF" + bytes(4) + b"AVI " + headers + b"LIST"
        self._size = len(before) + 8
        self._positions = (
            before.index(main) + 16,
            before.index(stream) + 32,
            len(before),
        )
        return before + bytes(4) + b"movi"

    def chunk(self, packets: Sequence[Packet]) -> bytes:
        """Return the pictures, each in the next free slot from its time on."""
        pieces = []
        for packet in packets:
            skipped = max(0, round(packet.seconds * self._rate) - self._frames)
            pieces += [_riff("00dc")] * skipped + [_riff("00dc", packet.data)]
            self._frames += skipped + 1
        data = b"".join(pieces)
        self._size += len(data)
        return data

    def patches(self) -> list[tuple[int, bytes]]:
        """Return the sizes and numbers of frames."""
        total, length, movie = self._positions
        count = struct.pack("<I", self._frames)
        return [
            (4, struct.pack("<I", self._size - 8)),
            (total, count),
            (length, count),
            (movie, struct.pack("<I", self._size - movie - 4)),
        ]


def _riff(name: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack("<4sI", name.encode(), len(body)) + body + bytes(len(body) % 2)
