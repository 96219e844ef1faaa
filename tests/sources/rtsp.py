"""An RTSP camera in a few lines: MJPEG (RFC 2435) through the RTSP connection itself (RFC 2326, 10.12)."""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
import time

from sources.web import jpeg

DESCRIPTION = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:0\r\n"
)
CLOCK = 90_000
FPS = 30


def packet(number, picture, size=(32, 24)):
    """One RTP packet with a whole JPEG picture of that size, in pixels that are multiples of 8."""
    tables, scan = [], picture.index(b"\xff\xda")
    position = 2
    while position < scan:
        length = int.from_bytes(picture[position + 2 : position + 4])
        if picture[position + 1] == 0xDB:
            body = picture[position + 4 : position + 2 + length]
            tables += [body[start + 1 : start + 65] for start in range(0, len(body), 65)]
        position += 2 + length
    data = picture[scan + 2 + int.from_bytes(picture[scan + 2 : scan + 4]) : -2]
    quantization = b"".join(tables)
    # Kind 1 is 4:2:0, as OpenCV writes JPEG; quality 255 says that the tables follow.
    head = struct.pack(">IBBBB", 0, 1, 255, size[0] // 8, size[1] // 8)
    head += struct.pack(">BBH", 0, 0, len(quantization)) + quantization
    stamp = number * CLOCK // FPS & 0xFFFFFFFF
    rtp = struct.pack(">BBHII", 0x80, 0x80 | 26, number & 0xFFFF, stamp, 1) + head + data
    return b"$\0" + len(rtp).to_bytes(2) + rtp


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            request = line.split()
            fields = {}
            while (field := self.rfile.readline().strip()) and b":" in field:
                name, _, value = field.partition(b":")
                fields[name.strip().lower()] = value.strip()
            if not request:
                continue
            body, extra = "", ""
            if request[0] == b"DESCRIBE":
                body, extra = DESCRIPTION, "Content-Type: application/sdp\r\n"
            elif request[0] == b"SETUP":
                extra = f"Transport: {fields[b'transport'].decode()}\r\n"
            self.wfile.write(
                f"RTSP/1.0 200 OK\r\nCSeq: {fields[b'cseq'].decode()}\r\nSession: 1\r\n"
                f"Public: DESCRIBE, SETUP, PLAY\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if request[0] == b"PLAY":
                self.play()
                return

    def play(self):
        with contextlib.suppress(OSError):
            number = 0
            while number < self.server.frames:
                self.wfile.write(packet(number, jpeg(40)))
                number += 1
                time.sleep(1 / FPS)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    frames = 60


@contextlib.contextmanager
def playing(port=0, frames=60):
    """A server that gives each who asks so many ``frames`` and hangs up; yields its port."""
    with Server(("127.0.0.1", port), Handler) as server:
        server.frames = frames
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
