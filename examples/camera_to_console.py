"""Print who feels what in front of a camera, until Ctrl-C.

python camera_to_console.py [SOURCE]     # 0 is /dev/video0; picamera2, demo, a film or a URL do as well
"""

import contextlib
import sys

import fer_edge

source = sys.argv[1] if len(sys.argv) > 1 else 0
with contextlib.suppress(KeyboardInterrupt), fer_edge.watch(source) as results:
    for result in results:
        # A face has a number once it was detected often enough to count as a person.
        people = [f"#{face.track} {face.in_words()}" for face in result.faces if face.track]
        print(f"{result.time:%H:%M:%S}  {'; '.join(people) or 'nobody'}", flush=True)
