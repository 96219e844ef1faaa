"""Move the people head by labelled faces of all people but one, and judge it on that one; for each in turn.

python benchmarks/people_faces.py FOLDER --initial-weights MODEL --data fer2013.csv --votes fer2013new.csv
    [--weights 0.01 0.02] [--balance 0.5] [--every 4]

FOLDER has pictures and a labels.csv, as fer-edge evaluate reads it; a person is what the names of pictures
have before the first "_". For each weight of the labelled faces: the agreement on the validation rows of the
head that all people moved, and how many faces are answered right by that, and by heads that never saw the
person. Weight 0 is the head of before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timing import print_machine
from torch import Tensor
from torch.nn import functional as F

from fer_edge.checks.agreement import at_balance
from fer_edge.faces.pictures import read_pictures
from fer_edge.fer2013.folders import list_pictures
from fer_edge.fer2013.votes import top_votes
from fer_edge.labels import EMOTIONS
from fer_edge.models.people import People, choose
from fer_edge.train.data import load_training_data
from fer_edge.train.linear_fit import people_features
from fer_edge.train.people_faces import WEIGHT, WEIGHT_DECAY, kept_features, moved_head, seen_features
from fer_edge.train.pretrained import pretrained_net

Head = tuple[Tensor, Tensor]
"""Weights and offsets."""
Codes = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--initial-weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--votes", required=True)
    parser.add_argument("--weights", type=float, nargs="+", default=[WEIGHT])
    parser.add_argument("--weight-decay", type=float, default=WEIGHT_DECAY)
    parser.add_argument(
        "--every", type=int, default=4, help="keep the answers to one Training row in so many"
    )
    parser.add_argument("--balance", type=float, default=0.5)
    options = parser.parse_args()
    print_machine()
    pictures = list_pictures(options.folder)
    dataset, read = read_pictures(pictures, detect=True)
    assert dataset.labels is not None
    labels = dataset.labels.astype(np.int64)
    persons = np.array([pictures.files[index].name.partition("_")[0] for index in np.flatnonzero(read)])
    data, _ = load_training_data(options.data, options.votes)
    net = pretrained_net(options.initial_weights).eval()
    assert net.people is not None
    known = kept_features(net, torch.from_numpy(data.faces[:: options.every]), 1)
    seen = seen_features(net, torch.from_numpy(dataset.pixels), 1)
    validated = people_features(net, torch.from_numpy(data.val_faces))
    before = (net.people.weight.detach(), net.people.bias.detach())
    emotions = F.linear(known, *before).softmax(1)[:, : len(EMOTIONS)].mean(0)
    prior = tuple((emotions / emotions.sum()).tolist())
    people = People(prior, options.balance, unsure_above=1.0)
    assert data.val_votes is not None
    top = top_votes(data.val_votes)
    top = np.where(top < len(EMOTIONS), top, -1)

    def line(weight: float, head: Head, *found: Codes) -> None:
        shares = shares_of(head, validated)
        agreement = at_balance(shares, people, top, 0).agreement
        recall = at_balance(shares, people, top, options.balance).mean_recall
        print(
            f"{weight:>7g}  {agreement:>14.2%}  {recall:>18.2%}  "
            f"{'; '.join(right(one, labels) for one in found)}",
            flush=True,
        )

    def answers(head: Head, faces: Codes) -> Codes:
        return choose(shares_of(head, seen[0, faces]), prior, options.balance)

    def moved(faces: Codes, weight: float) -> Head:
        assert net.people is not None
        return moved_head(
            net.people,
            known,
            seen[:, faces],
            torch.from_numpy(labels[faces]),
            weight=weight,
            weight_decay=options.weight_decay,
        )

    print(
        f"{'weight':>7}  {'agreement, T 0':>14}  {'mean recall, own T':>18}  right, of its people; of others"
    )
    everyone = np.arange(len(labels))
    line(0, before, answers(before, everyone))
    for weight in options.weights:
        head = moved(everyone, weight)
        outside = np.empty_like(labels)
        for person in np.unique(persons):
            own = persons == person
            outside[own] = answers(moved(everyone[~own], weight), everyone[own])
        line(weight, head, answers(head, everyone), outside)


def shares_of(head: Head, features: Tensor) -> NDArray[np.float32]:
    """The expected shares of the seven emotions, float32 (n, 7)."""
    logits = F.linear(features.double(), *(part.double() for part in head))[:, : len(EMOTIONS)]
    return logits.softmax(1).float().numpy()


def right(answers: Codes, labels: Codes) -> str:
    """How many faces of each label are answered right."""
    counts = [
        f"{(answers[labels == code] == code).sum()} of {(labels == code).sum()} {EMOTIONS[code]}"
        for code in np.unique(labels).tolist()
    ]
    return ", ".join(counts)


if __name__ == "__main__":
    main()
