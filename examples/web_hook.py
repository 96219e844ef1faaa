"""Tell a web server whenever somebody's emotion changes; what it does not take now is sent again.

python web_hook.py http://127.0.0.1:8123/api/webhook/faces [SOURCE]
"""

import contextlib
import itertools
import json
import queue
import sys
import threading
import time
import urllib.request
import uuid

import fer_edge

PAUSES = (1, 2, 5, 10, 30)
"""Seconds between attempts; the last repeats."""

if len(sys.argv) < 2:
    sys.exit("usage: web_hook.py URL [SOURCE]")
url = sys.argv[1]
source = sys.argv[2] if len(sys.argv) > 2 else 0
# Up to this many wait while the server is away. A thread sends them in order; recognition does not wait.
events: queue.Queue[dict | None] = queue.Queue(1000)


def is_done(event: dict) -> bool:
    """Send one event; whether the server took it, or never will."""
    request = urllib.request.Request(url, json.dumps(event).encode(), {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=5).close()
        return True
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        # A request that the server rejects stays rejected, except for time-outs and rate limits.
        code = getattr(error, "code", 500)
        return code < 500 and code not in (408, 429)


def deliver() -> None:
    """Send events, each until it is done."""
    while (event := events.get()) is not None:
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            if is_done(event):
                break
            time.sleep(pause)


sender = threading.Thread(target=deliver, daemon=True)
sender.start()
told: dict[int, str] = {}
with contextlib.suppress(KeyboardInterrupt), fer_edge.watch(source, smoothing=1.0) as results:
    for result in results:
        for face in result.faces:
            if face.track is None or told.get(face.track) == face.emotion:
                continue
            # If the answer to an event is lost, the server gets it twice and can tell by its id.
            event = {"id": str(uuid.uuid4()), "time": result.time.isoformat()}
            # If there is no room, the next frame tries again.
            with contextlib.suppress(queue.Full):
                events.put_nowait({**event, "person": face.track, "emotion": face.emotion})
                told[face.track] = face.emotion
with contextlib.suppress(queue.Full):
    events.put_nowait(None)
sender.join(10)
if sender.is_alive():
    sys.exit(f"{url}: events were left unsent")
