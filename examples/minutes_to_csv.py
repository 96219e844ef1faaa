"""Write a row a minute for a spreadsheet: when, how many people, which emotions.

python minutes_to_csv.py minutes.csv [SOURCE] [SECONDS]     # adds to the file; until Ctrl-C
"""

import contextlib
import csv
import itertools
import sys
from pathlib import Path

import numpy as np

import fer_edge

if len(sys.argv) < 2:
    sys.exit("usage: minutes_to_csv.py CSV [SOURCE] [SECONDS]")
table = Path(sys.argv[1])
source = sys.argv[2] if len(sys.argv) > 2 else 0
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 60.0
# Spreadsheets recognize UTF-8 by a mark at the very beginning of the file.
encoding = "utf-8" if table.exists() else "utf-8-sig"
with fer_edge.watch(source) as results, table.open("a", newline="", encoding=encoding) as stream:
    writer = csv.writer(stream)
    if not stream.tell():
        writer.writerow(["time", "people", *fer_edge.EMOTIONS])
    with contextlib.suppress(KeyboardInterrupt):
        for _, part in itertools.groupby(results, lambda result: result.timestamp // seconds):
            began, people, shares = None, set(), [np.zeros(7)]
            for result in part:
                began = began or result.time.astimezone()
                faces = [face for face in result.faces if face.track]
                people |= {face.track for face in faces}
                shares += [face.probabilities for face in faces]
            mean = np.sum(shares, axis=0) / max(len(shares) - 1, 1)
            writer.writerow([f"{began:%Y-%m-%d %H:%M:%S}", len(people), *mean.round(3)])
            stream.flush()
