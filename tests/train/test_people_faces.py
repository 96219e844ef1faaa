"""The people head moved by labelled faces: these are answered right, all others nearly as before."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import draw_face, write_csv, write_votes

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.errors import DataError
from fer_edge.fer2013.reader import FerDataset
from fer_edge.labels import EMOTIONS
from fer_edge.train import checkpoint
from fer_edge.train.finetune import read_training_faces
from fer_edge.train.linear_fit import people_features
from fer_edge.train.loop import fit
from fer_edge.train.losses import soft_cross_entropy
from fer_edge.train.options import TrainOptions
from fer_edge.train.people_faces import move_people, moved_head, views
from fer_edge.train.people_head import train_people_only
from fer_edge.train.pretrained import exported_net

HAPPY, NEUTRAL = EMOTIONS.index("happy"), EMOTIONS.index("neutral")


@pytest.fixture
def features():
    """300 to be kept, and of two labelled faces: one that looks neutral in all but one place."""
    generator = torch.Generator().manual_seed(4)
    known = torch.randn(300, 20, generator=generator)
    head = torch.nn.Linear(20, 9)
    with torch.no_grad():
        head.weight.copy_(torch.randn(9, 20, generator=generator))
        # Nothing that the head looked at so far, and hardly anything that other faces have.
        head.weight[:, 19] = 0
        known[:, 19] *= 0.01
        faint = torch.zeros(20)
        faint[:19] = head.weight[NEUTRAL, :19] / 4
        neutral = faint.clone()
        faint[19] = 1
    return head, known, torch.stack([faint, neutral])[None], torch.tensor([HAPPY, NEUTRAL])


def test_the_moved_head_says_the_labels_and_keeps_its_answers(features):
    head, known, seen, labels = features
    assert head(seen[0]).argmax(1).tolist() == [NEUTRAL, NEUTRAL]
    weights, offsets = moved_head(head, known, seen, labels, weight=0.03, weight_decay=1e-5)
    shares = (seen[0].double() @ weights.T + offsets).softmax(1)
    assert shares.argmax(1).tolist() == labels.tolist()
    before, after = head(known).softmax(1), (known.double() @ weights.T + offsets).softmax(1)
    assert (before - after).abs().max() < 0.05
    # Nobody asked for another neutral.
    stayed = [row for row in range(9) if row != HAPPY]
    torch.testing.assert_close(weights[stayed].float(), head.weight.detach()[stayed])
    torch.testing.assert_close(offsets[stayed].float(), head.bias.detach()[stayed])


def test_the_moved_head_is_the_optimum(features):
    head, known, seen, labels = features
    weight, decay = 0.1, 0.01
    found = moved_head(head, known, seen, labels, weight=weight, weight_decay=decay)
    weights, offsets = (part.clone().requires_grad_() for part in found)
    with torch.no_grad():
        kept = head(known).double().softmax(1)
    wanted = torch.eye(9, dtype=torch.float64)[labels]
    value = soft_cross_entropy(known.double() @ weights.T + offsets, kept)
    value = value + weight * soft_cross_entropy(seen[0].double() @ weights.T + offsets, wanted)
    (value + decay / 2 * (weights - head.weight.detach()).square().sum()).backward()
    assert weights.grad[HAPPY].abs().max() < 2e-5
    assert offsets.grad[HAPPY].abs() < 2e-5


def test_without_weight_nothing_moves(features):
    head, known, seen, labels = features
    weights, offsets = moved_head(head, known, seen, labels, weight=0.0, weight_decay=1e-3)
    torch.testing.assert_close(weights.float(), head.weight.detach())
    torch.testing.assert_close(offsets.float(), head.bias.detach())


def test_a_head_that_says_the_labels_already_stays_as_it_is(features):
    head, known, seen, _ = features
    weights, offsets = moved_head(head, known, seen, torch.tensor([NEUTRAL, NEUTRAL]))
    assert torch.equal(weights.float(), head.weight.detach())
    assert torch.equal(offsets.float(), head.bias.detach())


def test_views_begin_with_the_face_and_repeat(drawn):
    faces = torch.from_numpy(drawn.faces[:5])
    found = views(faces, 1)
    assert torch.equal(found[0], faces)
    assert torch.equal(found[1], faces.flip(2))
    assert all(view.shape == faces.shape and view.dtype == torch.uint8 for view in found)
    assert all(not torch.equal(view, faces) for view in found[1:])
    assert all(torch.equal(one, other) for one, other in zip(found, views(faces, 1), strict=True))
    assert not torch.equal(found[-1], views(faces, 2)[-1])


def test_labelled_faces_are_seen_in_the_dark_too():
    faces = torch.full((2, 48, 48), 200, dtype=torch.uint8)
    faces[:, :24] = 50
    assert len(views(faces, 1)) == 19
    dark = [view.flatten(1).unique(dim=1).tolist() for view in views(faces, 1)[2:7]]
    levels = [[4, 16], [5, 20], [6, 24], [8, 30], [10, 40]]
    assert dark == [[pair, pair] for pair in levels]
    assert len(views(faces, 1, dark=False)) == 14


def test_a_network_learns_other_labels_of_a_few_faces(drawn, tmp_path):
    votes = 10 * np.eye(9, dtype=np.float32)
    voted = replace(drawn, votes=votes[drawn.labels], val_votes=votes[drawn.val_labels])
    fit(voted, TrainOptions(model="tiny", epochs=3, batch=35), tmp_path)
    net, state = checkpoint.load_net(tmp_path / "last.pt")
    faces = torch.from_numpy(voted.faces)
    # What it took for something else: these are to be called happy.
    with torch.no_grad():
        strange = (net.people(people_features(net, faces))[:, :7].argmax(1) != HAPPY).nonzero()[:6, 0]
    own = FerDataset(voted.faces[strange], np.full(6, HAPPY, np.int8), None)
    before = net.people(people_features(net, faces[strange])).softmax(1)[:, HAPPY].mean().item()
    loss = move_people(net, faces, own)
    after = net.people(people_features(net, faces[strange])).softmax(1)[:, HAPPY].mean().item()
    assert after > before
    assert np.isfinite(loss)
    kept = {name: value for name, value in net.state_dict().items() if not name.startswith("people.")}
    assert all(torch.equal(state["ema"][name], value) for name, value in kept.items())


@pytest.fixture
def folder(tmp_path):
    """Six drawn faces of each of two emotions, no more of them than a head needs."""
    rng = np.random.default_rng(3)
    for emotion in ("happy", "neutral"):
        (tmp_path / "mine" / emotion).mkdir(parents=True)
        for index in range(3):
            face = cv2.resize(draw_face(EMOTIONS.index(emotion), rng), (96, 96))
            cv2.imwrite(str(tmp_path / "mine" / emotion / f"{index:02}.png"), face)
    return tmp_path / "mine"


def test_all_faces_of_a_folder_count_unless_it_says_which(folder):
    assert len(read_training_faces(folder)) == 6
    lines = ["file,emotion,Usage", *(f"happy/{index:02}.png,happy,Training" for index in range(3))]
    lines += ["neutral/00.png,neutral,Training", "neutral/01.png,neutral,PublicTest"]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    assert read_training_faces(folder).labels.tolist() == [HAPPY] * 3 + [NEUTRAL]


def test_the_command_moves_the_head_of_a_bundled_model(cli, folder, tmp_path):
    csv = write_csv(tmp_path / "data.csv", {"Training": 6, "PublicTest": 2})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(56)])
    (folder / "happy" / "copy.png").write_bytes((folder / "happy" / "00.png").read_bytes())
    out = tmp_path / "run"
    given = ("train", "--people-only", "--initial-weights", "nano", "--data", csv, "--votes", votes)
    code, text, err = cli(*given, "--faces", folder, "--out", out)
    assert code == 0, err
    assert text.startswith("6 faces to move the people head by\n")
    assert "copy.png: the same face as" in err or "00.png: the same face as" in err
    net, state = checkpoint.load_net(out / "last.pt")
    assert state["options"]["own_faces"] == 6
    bundled = exported_net("nano")
    same = {name: torch.equal(net.get_parameter(name), value) for name, value in bundled.named_parameters()}
    assert {name for name, kept in same.items() if not kept} == {"people.weight", "people.bias"}


def test_the_faces_are_found_in_whole_pictures(cli, astronaut, tmp_path):
    csv = write_csv(tmp_path / "data.csv", {"Training": 6, "PublicTest": 2})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(56)])
    for emotion, picture in (("happy", astronaut), ("neutral", astronaut[:, ::-1])):
        (tmp_path / "mine" / emotion).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "mine" / emotion / "one.png"), picture)
    given = ("train", "--people-only", "--initial-weights", "nano", "--data", csv, "--votes", votes)
    code, text, err = cli(*given, "--faces", tmp_path / "mine", "--detect", "--out", tmp_path / "run")
    assert code == 0, err
    assert text.startswith("2 faces to move the people head by\n")


def test_a_network_without_a_people_head_has_none_to_move(drawn, tmp_path):
    fit(drawn, TrainOptions(model="tiny", epochs=1, batch=70), tmp_path)
    voted = replace(drawn, votes=np.ones((len(drawn.faces), 9), np.float32))
    own = FerDataset(drawn.faces[:2], np.int8([HAPPY, NEUTRAL]), None)
    with pytest.raises(DataError, match="has no people head to be moved"):
        train_people_only(voted, tmp_path / "run", initial_weights=str(tmp_path / "last.pt"), own=own)
    assert not (tmp_path / "run").exists()


def test_faces_that_are_answered_right_already_move_nothing(drawn, tmp_path):
    votes = 10 * np.eye(9, dtype=np.float32)
    voted = replace(drawn, votes=votes[drawn.labels], val_votes=votes[drawn.val_labels])
    fit(voted, TrainOptions(model="tiny", epochs=1, batch=70), tmp_path)
    net, _ = checkpoint.load_net(tmp_path / "last.pt")
    with torch.no_grad():
        said = net.people(people_features(net, torch.from_numpy(voted.faces[:4]))).argmax(1)
    own = FerDataset(voted.faces[:4], said.numpy().astype(np.int8), None)
    given = {"initial_weights": str(tmp_path / "last.pt"), "own": own}
    with pytest.raises(DataError, match="answers all 4 faces with their labels already"):
        train_people_only(voted, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_one_emotion_alone_moves_nothing(cli, folder, tmp_path):
    csv = write_csv(tmp_path / "data.csv", {"Training": 6, "PublicTest": 2})
    votes = write_votes(tmp_path / "votes.csv", [index % 7 for index in range(56)])
    given = ("train", "--people-only", "--initial-weights", "nano", "--data", csv, "--votes", votes)
    for path in (folder / "neutral").iterdir():
        path.unlink()
    (folder / "neutral").rmdir()
    code, _, err = cli(*given, "--faces", folder, "--out", tmp_path / "run")
    assert code == 2
    assert "want at least two emotions" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--faces-weight", "0.1"), "--faces-weight does nothing without --people-only and --faces DIR"),
        (("--people-only", "--faces", "F", "--faces-weight", "nan"), "above 0, up to 100, got nan"),
        (("--people-only", "--faces", "F", "--faces-weight", "0"), "above 0, up to 100, got 0"),
        (("--people-only", "--faces", "F"), "F: no such folder"),
    ],
)
def test_what_cannot_move_a_head_is_refused(cli, drawn_csv, drawn_votes, tmp_path, arguments, message):
    given = ("--initial-weights", "nano", "--data", drawn_csv, "--votes", drawn_votes)
    code, _, err = cli("train", *given, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()
