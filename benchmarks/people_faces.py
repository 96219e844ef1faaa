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
from timing import print_machine
from torch import Tensor
from torch.nn import functional as F

from fer_edge.faces.pictures import read_pictures
from fer_edge.fer2013.folders import list_pictures
from fer_edge.fer2013.votes import top_votes
from fer_edge.labels import EMOTIONS
from fer_edge.train.data import TrainingData, load_training_data
from fer_edge.train.linear_fit import people_features
from fer_edge.train.people_faces import WEIGHT, WEIGHT_DECAY, kept_features, moved_head, views
from fer_edge.train.pretrained import pretrained_net


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
    labels = torch.from_numpy(dataset.labels.astype(np.int64))
    people = np.array([pictures.files[index].name.partition("_")[0] for index in np.flatnonzero(read)])
    data, _ = load_training_data(options.data, options.votes)
    net = pretrained_net(options.initial_weights).eval()
    assert net.people is not None
    known = kept_features(net, torch.from_numpy(data.faces[:: options.every]), 1)
    seen = torch.stack([people_features(net, view) for view in views(torch.from_numpy(dataset.pixels), 1)])
    validated = people_features(net, torch.from_numpy(data.val_faces))
    prior = F.linear(known, net.people.weight, net.people.bias).softmax(1)[:, : len(EMOTIONS)].mean(0)
    shift = options.balance * prior.log()

    def answers(head: tuple[Tensor, Tensor], features: Tensor) -> tuple[Tensor, Tensor]:
        logits = F.linear(features.double(), *(part.double() for part in head))[:, : len(EMOTIONS)]
        return logits.argmax(1), (logits - shift).argmax(1)

    before = (net.people.weight.detach(), net.people.bias.detach())
    _, balanced = answers(before, seen[0])
    print(
        f"{'weight':>7}  {'agreement, T 0':>14}  {'mean recall, own T':>18}  right, of its people; of others"
    )
    print(f"{0:>7g}  {judged(answers(before, validated), data)}  {right(balanced, labels)}")
    for weight in options.weights:

        def moved(rows: Tensor, weight: float = weight) -> tuple[Tensor, Tensor]:
            assert net.people is not None
            return moved_head(
                net.people,
                known,
                seen[:, rows],
                labels[rows],
                weight=weight,
                weight_decay=options.weight_decay,
            )

        head = moved(torch.arange(len(labels)))
        _, inside = answers(head, seen[0])
        outside = torch.empty_like(labels)
        for person in np.unique(people):
            own = torch.from_numpy(people == person)
            _, outside[own] = answers(moved(torch.nonzero(~own)[:, 0]), seen[0, own])
        print(
            f"{weight:>7g}  {judged(answers(head, validated), data)}  {right(inside, labels)}; "
            f"{right(outside, labels)}",
            flush=True,
        )


def judged(answers: tuple[Tensor, Tensor], data: TrainingData) -> str:
    """The agreement of the plain answers with the one top vote, and the mean recall of the balanced ones."""
    assert data.val_votes is not None
    top = torch.from_numpy(top_votes(data.val_votes))
    plain, balanced = answers
    counted = (top >= 0) & (top < len(EMOTIONS))
    recalls = [(balanced[top == code] == code).double().mean() for code in range(len(EMOTIONS))]
    agreement = (plain == top)[counted].double().mean()
    return f"{agreement:>14.2%}  {torch.stack(recalls).mean():>18.2%}"


def right(answers: Tensor, labels: Tensor) -> str:
    """How many faces of each label are answered right."""
    counts = [
        f"{(answers[labels == code] == code).sum()} of {(labels == code).sum()} {EMOTIONS[code]}"
        for code in labels.unique().tolist()
    ]
    return ", ".join(counts)


if __name__ == "__main__":
    main()
