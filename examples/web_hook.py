"""Tell a web server whenever somebody's emotion changes.

python web_hook.py http://127.0.0.1:8123/api/webhook/faces [SOURCE]
"""

import contextlib
import json
import sys
import urllib.request

import fer_edge

if len(sys.argv) < 2:
    sys.exit("usage: web_hook.py URL [SOURCE]")
url = sys.argv[1]
source = sys.argv[2] if len(sys.argv) > 2 else 0
told: dict[int, str] = {}
with contextlib.suppress(KeyboardInterrupt), fer_edge.watch(source, smoothing=1.0) as results:
    for result in results:
        for face in result.faces:
            if face.track is None or told.get(face.track) == face.emotion:
                continue
            event = {"time": result.time.isoformat(), "person": face.track, "emotion": face.emotion}
            header = {"Content-Type": "application/json"}
            # Frames of a camera that come meanwhile are dropped, not queued.
            try:
                request = urllib.request.Request(url, json.dumps(event).encode(), header)
                urllib.request.urlopen(request, timeout=5).close()
                told[face.track] = face.emotion
            except OSError as error:
                print(f"{url}: {error}", file=sys.stderr)
