"""Sum up what `fer-edge run --jsonl` writes: how often each emotion was seen.

fer-edge run --camera demo --frames 60 --jsonl - | python read_jsonl.py
"""

import collections
import json
import sys

counts: collections.Counter[str] = collections.Counter()
lost = 0
blind = 0.0
for line in sys.stdin:
    record = json.loads(line)
    # Other types are "start" and "end"; a reader should pass over those it does not know.
    if record["type"] == "frame":
        counts.update(face["emotion"] for face in record["faces"])
    elif record["type"] == "gap":
        # Frames without a record, or a time without frames, in which the camera was lost.
        lost += record["lost"]
        blind += record.get("seconds", 0.0)
for emotion, count in counts.most_common():
    print(f"{emotion:<10}{count:>6}")
if lost:
    print(f"{lost} frames are missing", file=sys.stderr)
if blind:
    print(f"{blind:.0f} s without the camera", file=sys.stderr)
