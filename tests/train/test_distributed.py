"""Processes: the same command twice, Ctrl-C, and several that train together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import read_metrics
from ports import free_port

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.toolchain

from fer_edge.train import checkpoint
from fer_edge.train.distill import teacher_answers

HANGS = 900
"""Seconds after which a process is taken to hang, on however busy a machine."""


LEARNING = ("--model", "nano", "--epochs", 2, "--batch", 70, "--ema", 0.9)


def _start(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "fer_edge.train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def _ranks(count):
    """The environments that torchrun gives its processes."""
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [{"RANK": str(rank), "LOCAL_RANK": str(rank), **common} for rank in range(count)]


def test_ctrl_c_stops_cleanly_and_the_run_resumes(drawn_csv, tmp_path):
    out = tmp_path / "run"
    process = _start(
        ["--data", drawn_csv, "--out", out, "--model", "nano", "--epochs", 10_000, "--batch", 35]
    )
    while not (out / "last.pt").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANGS)
    assert process.returncode == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert 1 <= checkpoint.load(out / "last.pt")["epoch"] < 10_000


def test_the_same_command_gives_the_same_weights_also_with_votes(cli, drawn_csv, drawn_votes, tmp_path):
    """In two processes, of which one has done much else."""
    arguments = ("--data", drawn_csv, "--votes", drawn_votes, "--model", "nano", "--epochs", 1, "--batch", 70)
    process = _start([*arguments, "--out", tmp_path / "one"])
    _, err = process.communicate(timeout=HANGS)
    assert process.returncode == 0, err
    code, _, err = cli("train", *arguments, "--out", tmp_path / "two", "--threads", 1)
    assert code == 0, err
    states = [checkpoint.load(tmp_path / name / "last.pt") for name in ("one", "two")]
    assert all(torch.equal(states[0]["net"][key], states[1]["net"][key]) for key in states[0]["net"])
    assert any(key.startswith("people.") for key in states[0]["net"])


RANK_CODE = """
import contextlib, io, json, sys, numpy as np, torch
from pathlib import Path
from fer_edge.cli import main
from fer_edge.train import loop
from fer_edge.train.data import TrainingData
from fer_edge.train.distill import teacher_answers
from fer_edge.train.options import TrainOptions
nets = []
class Net(loop.EmotionNet):
    def __init__(self, architecture):
        super().__init__(architecture)
        nets.append(self)
loop.EmotionNet = Net
rng = np.random.default_rng(0)
faces, labels = rng.integers(0, 256, (16, 48, 48), np.uint8), rng.integers(0, 7, 16)
votes = np.ones((16, 9), np.float32)
data = TrainingData(faces, labels, votes, faces, labels)
loop.fit(data, TrainOptions(model="nano", epochs=1, batch=8, warmup=0), Path(sys.argv[1]))
weights = [float(value.double().sum()) for value in nets[0].parameters()]
logits = teacher_answers([sys.argv[2]], faces[:9])
with contextlib.redirect_stdout(io.StringIO()) as printed:
    code = main(["train", *sys.argv[3:]])
print(json.dumps({"weights": weights, "faces": faces[:9].tolist(), "logits": logits.fer2013.tolist(),
                  "code": code, "printed": printed.getvalue()}))
"""


@pytest.fixture(scope="module")
def two_ranks(drawn_csv, trained_edge, tmp_path_factory):
    """What each of two processes has after a training, as answers of a teacher, and after the command."""
    out = tmp_path_factory.mktemp("ranks")
    (out / "first").mkdir()
    command = [*LEARNING, "--data", drawn_csv, "--out", out / "two"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK_CODE, *map(str, (out / "first", trained_edge, *command))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        for environment in _ranks(2)
    ]
    outputs = [process.communicate(timeout=HANGS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return [json.loads(stdout) for stdout, _ in outputs], out / "two"


def test_processes_exchange_gradients_so_that_their_weights_stay_equal(two_ranks):
    one, two = (rank["weights"] for rank in two_ranks[0])
    assert len(one) > 50
    assert one == two


def test_processes_share_the_work_of_teachers_and_all_get_the_whole(two_ranks, trained_edge):
    one, two = (rank["logits"] for rank in two_ranks[0])
    assert one == two
    alone = teacher_answers([trained_edge], np.array(two_ranks[0][0]["faces"], np.uint8)).fer2013
    assert alone.shape == (9, 7)
    np.testing.assert_allclose(alone, one, atol=2e-4)


NODE_LEARNING = ("--model", "nano", "--epochs", 6, "--batch", 70, "--ema", 0.9)


def _start_node(port, *arguments):
    """A machine's ``torchrun``, with one process; it and its process are a group of their own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "drawn"),
            *("-m", "fer_edge.train", *map(str, arguments)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _children(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def _two_nodes(out, data, *options, kill=False):
    """The exit codes of two nodes; a process of the second is killed after the first epoch where ``kill``."""
    port = _ranks(1)[0]["MASTER_PORT"]
    nodes = [_start_node(port, *NODE_LEARNING, "--data", data, "--out", out, *options) for _ in range(2)]
    try:
        while kill and not (out / "last.pt").exists() and all(node.poll() is None for node in nodes):
            time.sleep(0.02)
        for worker in _children(nodes[1].pid) if kill else ():
            os.kill(worker, signal.SIGKILL)
        printed = [node.communicate(timeout=HANGS) for node in nodes]
    finally:
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
    assert ("exitcode: -9" in printed[1][1]) == kill, printed
    return [node.returncode for node in nodes]


@pytest.mark.services
def test_nodes_that_meet_over_tcp_resume_after_one_of_their_processes_was_lost(drawn_csv, tmp_path):
    """Each node has a ``torchrun`` of its own; together they come to what they come to undisturbed."""
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert _two_nodes(undisturbed, drawn_csv) == [0, 0]
    assert _two_nodes(disturbed, drawn_csv, kill=True) == [1, 1]
    assert len(read_metrics(disturbed)) < 6
    assert _two_nodes(disturbed, drawn_csv, "--resume") == [0, 0]
    for out in (undisturbed, disturbed):
        assert [int(float(row["epoch"])) for row in read_metrics(out)] == [*range(1, 7)]
    states = [checkpoint.load(out / "last.pt")["net"] for out in (undisturbed, disturbed)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_two_processes_learn_like_one(cli, drawn_csv, two_ranks, tmp_path):
    ranks, out = two_ranks
    assert [rank["code"] for rank in ranks] == [0, 0]
    assert "epoch 2/2" in ranks[0]["printed"]
    assert ranks[1]["printed"] == ""
    code, _, err = cli("train", *LEARNING, "--data", drawn_csv, "--out", tmp_path / "one", "--threads", 1)
    assert code == 0, err
    losses = [[float(row["train_loss"]) for row in read_metrics(run)] for run in (tmp_path / "one", out)]
    assert losses[0] == pytest.approx(losses[1], abs=0.25)
