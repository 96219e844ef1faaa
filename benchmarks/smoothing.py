"""How often the emotion of somebody who talks changes on the screen, by `--smoothing`.

The film is `speaking` of films.py: a photograph whose mouth opens and closes four to six times a second, and
smiles for a second after every five, held by a hand that trembles, with noise. changes: of the emotion from
one frame to the next, a minute; while talking: frames with the emotion that most frames of talking have at
this smoothing; smiles: seconds of smiling in which "happy" is said at all; after: seconds from their first
frame to the first "happy", median.

python benchmarks/smoothing.py [--seconds 60]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from films import FPS, ROUND, SMILE_FROM, speaking

from fer_edge.pipeline.watch import watch
from fer_edge.sources.base import Frame, Source

SMOOTHINGS = (0.0, 0.2, 0.4, 1.0)


class _Film(Source):
    name = "speaking"

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __iter__(self) -> Iterator[Frame]:
        for shot in speaking(self.frames):
            yield Frame(shot.image, shot.seconds, self.name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    print(f"{'smoothing':>9}{'changes':>9}{'while talking':>15}{'smiles':>10}{'after':>8}")
    for smoothing in SMOOTHINGS:
        said = emotions(smoothing, round(seconds * FPS))
        print(f"{smoothing:>7} s{figures(said)}", flush=True)


def emotions(smoothing: float, frames: int) -> list[str]:
    """The emotion of the one face in each frame of the film."""
    with watch(_Film(frames), smoothing=smoothing, classify_every=1) as results:
        return [result.faces[0].emotion if result.faces else "" for result in results]


def figures(said: list[str]) -> str:
    """A line of the table."""
    changes = sum(a != b for a, b in pairwise(said))
    times = np.arange(len(said)) / FPS
    talking = [emotion for emotion, t in zip(said, times, strict=True) if t % ROUND < SMILE_FROM]
    usual, count = Counter(talking).most_common(1)[0]
    delays = []
    rounds = int(len(said) / FPS / ROUND)
    for number in range(rounds):
        first = round((number * ROUND + SMILE_FROM) * FPS)
        happy = [
            index for index, emotion in enumerate(said[first : first + round(FPS)]) if emotion == "happy"
        ]
        delays += [happy[0] / FPS] if happy else []
    after = f"{np.median(delays):.2f} s" if delays else "-"
    return (
        f"{60 * FPS * changes / len(said):>9.0f}{100 * count / len(talking):>7.1f} % {usual[:7]:<7}"
        f"{len(delays):>3} of {rounds:<2}{after:>8}"
    )


if __name__ == "__main__":
    main()
