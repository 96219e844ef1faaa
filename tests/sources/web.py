"""An HTTP server that answers each path as a test says."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time

from sources.pictures import encoded, grey

MJPEG = "multipart/x-mixed-replace; boundary=frame"


def multipart(parts, pause=0.0):
    """The body of an MJPEG stream, part by part."""
    for part in parts:
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
        yield head.encode() + part + b"\r\n"
        time.sleep(pause)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a path by what the test put under it: (type, length or None, parts), or a status."""

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        answer = self.server.answers[self.path]
        if callable(answer):
            answer = answer(self)
        if isinstance(answer, int):
            self.send_error(answer)
            return
        kind, length, parts = answer
        self.send_response(200)
        if kind:
            self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        try:
            for part in parts:
                self.wfile.write(part)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(port=0):
    """A running server; its ``answers`` are to be filled, ``asked`` tells what was requested."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as running:
        running.daemon_threads = True
        running.answers, running.asked = {}, []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def jpeg(level):
    return encoded(".jpg", grey(level))


def whole(kind, content):
    return kind, len(content), [content]
