"""Checkpoints in pieces: small enough to carry, and whole or named as incomplete."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.toolchain, pytest.mark.usefixtures("tiny")]

from fer_edge.train import checkpoint
from fer_edge.train.loop import fit
from fer_edge.train.options import TrainOptions


@pytest.fixture
def trained(drawn, tmp_path):
    (tmp_path / "run").mkdir()
    fit(drawn, TrainOptions(model="tiny", epochs=1, batch=62), tmp_path / "run")
    return checkpoint.load(tmp_path / "run" / "last.pt")


def test_weights_in_pieces_come_back_as_float16_without_what_resuming_needs(trained, tmp_path):
    files = checkpoint.save_weights(tmp_path / "net.pt", trained, 20_000)
    assert [file.name for file in files] == [f"net.pt.{n}of{len(files)}" for n in range(1, len(files) + 1)]
    assert len(files) > 2
    assert all(file.stat().st_size <= 20_000 for file in files)
    for name in ("net.pt", files[0].name, files[-1].name):
        net, state = checkpoint.load_net(tmp_path / name)
        assert state.keys() == trained.keys() - {"identity", "net", "averaged", "optimizer"}
        assert state["history"] == trained["history"]
        for key, value in trained["ema"].items():
            expected = value.half().float() if value.is_floating_point() else value
            assert torch.equal(net.state_dict()[key], expected)


def test_small_weights_are_one_ordinary_checkpoint(trained, tmp_path):
    path = tmp_path / "net.pt"
    # Beyond the range of float16.
    trained["ema"]["classifier.bias"][2] = 1e6
    assert checkpoint.save_weights(path, trained, 10_000_000) == [path]
    net, _ = checkpoint.load_net(path)
    assert net.classifier.bias[2] == 1e6
    assert path.stat().st_size < 0.7 * (tmp_path / "run" / "best.pt").stat().st_size


def test_pieces_of_another_size_replace_the_former_ones(trained, tmp_path):
    path = tmp_path / "net.pt"
    trained["epoch"] = 3
    former = checkpoint.save_weights(path, trained, 30_000)
    (tmp_path / "net.pt.of").write_text("no piece")
    trained["epoch"] = 7
    for size in (20_000, 30_000, 10_000_000, 20_000):
        files = checkpoint.save_weights(path, trained, size)
        assert sorted(tmp_path.glob("net.pt*")) == sorted([*files, tmp_path / "net.pt.of"])
        assert checkpoint.load(path)["epoch"] == 7
    for file in former:
        file.write_bytes(b"fer-edge piece 1\n")
    with pytest.raises(checkpoint.CheckpointError, match=rf"in {len(former)} and in {len(files)}; name"):
        checkpoint.load(path)
    assert checkpoint.load(files[0])["epoch"] == 7


def test_a_missing_a_strange_and_a_damaged_piece_are_named(trained, tmp_path):
    files = checkpoint.save_weights(tmp_path / "net.pt", trained, 20_000)
    second = files[1].read_bytes()
    files[1].unlink()
    with pytest.raises(checkpoint.CheckpointError, match=rf"of which {files[1].name} is not there"):
        checkpoint.load(files[0])
    files[1].write_bytes(second[:-1] + bytes([second[-1] ^ 1]))
    with pytest.raises(checkpoint.CheckpointError, match="do not add up"):
        checkpoint.load(tmp_path / "net.pt")
    trained["epoch"] = 7
    other = checkpoint.save_weights(tmp_path / "other.pt", trained, 20_000)
    files[1].write_bytes(other[1].read_bytes())
    with pytest.raises(checkpoint.CheckpointError, match=rf"{files[1].name}: not a piece of the same"):
        checkpoint.load(tmp_path / "net.pt")
