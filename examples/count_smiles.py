"""Count smiles: how often somebody's emotion turns to happy.

python count_smiles.py [SOURCE]     # until Ctrl-C, or the film's end
"""

import contextlib
import sys

import fer_edge

smiles = 0
smiling: set[int] = set()
source = sys.argv[1] if len(sys.argv) > 1 else 0
with contextlib.suppress(KeyboardInterrupt), fer_edge.watch(source) as results:
    for result in results:
        emotions = {face.track: face.emotion for face in result.faces if face.track}
        happy = {track for track, emotion in emotions.items() if emotion == "happy"}
        if happy - smiling:
            smiles += len(happy - smiling)
            print(f"{result.time:%H:%M:%S}  smile {smiles}", flush=True)
        # Who is out of sight for a moment may come back with the same smile.
        smiling = happy | (smiling - emotions.keys())
print(f"{smiles} smiles")
