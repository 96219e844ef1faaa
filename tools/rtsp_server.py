"""An RTSP camera made of a test picture, for tools/camera.py; runs on Debian's Python, which has GStreamer.

Usage: rtsp_server.py PORT SECONDS; serves rtsp://127.0.0.1:PORT/camera and prints "ready".
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=640,height=480,framerate=15/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)


def main(port: str, seconds: str) -> None:
    """Serve until the time is up."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(PIPELINE)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.timeout_add_seconds(int(seconds), loop.quit)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
