"""Write a row for each face in each frame of a film.

python film_to_csv.py party.mp4 party.csv
"""

import csv
import sys
from pathlib import Path

import fer_edge

if len(sys.argv) != 3:
    sys.exit("usage: film_to_csv.py FILM CSV")
film, table = sys.argv[1:]
with Path(table).open("x", newline="") as stream, fer_edge.watch(film) as results:
    writer = csv.writer(stream)
    writer.writerow(["seconds", "track", "x", "y", "width", "height", "emotion", *fer_edge.EMOTIONS])
    for result in results:
        for face in result.faces:
            box = (f"{value:.1f}" for value in face.box)
            probabilities = (f"{value:.4f}" for value in face.probabilities)
            writer.writerow([f"{result.timestamp:.3f}", face.track or "", *box, face.emotion, *probabilities])
print(results.summary)
