"""List the emotions in each picture of a folder, and the happiest picture.

python picture_folder.py holiday/
"""

import sys

import fer_edge

HAPPY = fer_edge.EMOTIONS.index("happy")

happiest, best = 0.0, ""
if len(sys.argv) != 2:
    sys.exit("usage: picture_folder.py FOLDER")
with fer_edge.watch(sys.argv[1]) as results:
    for result in results:
        print(f"{result.source}: {', '.join(face.emotion for face in result.faces) or 'no face'}")
        if result.faces:
            mean = float(sum(face.probabilities[HAPPY] for face in result.faces) / len(result.faces))
            if mean > happiest:
                happiest, best = mean, result.source
if best:
    print(f"happiest: {best}, {10 * happiest:.1f} of 10 would say happy")
