"""Networks that do not begin at random weights: the bundled models, and dlib's face recognizer."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from conftest import write_csv

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

from torch.nn import functional as F

import fer_edge
from fer_edge.fer2013.duplicates import held_out_tenth
from fer_edge.models.manifest import WEIGHTS
from fer_edge.train import checkpoint, dlib_weights, pretrained
from fer_edge.train.architectures import ARCHITECTURES, FACE_TEACHER
from fer_edge.train.batch_norm import is_folded, normalized_convolutions, restore_norms
from fer_edge.train.model import EmotionNet, normalize
from fer_edge.train.validation import predict_heads

# Channels and strided first block of dlib's levels, from the image on.
LEVELS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))


def integer(value: int) -> bytes:
    length = max(1, (value.bit_length() + 7) // 8)
    return bytes([length]) + value.to_bytes(length, "little")


def write_tensor(values: np.ndarray) -> bytes:
    numbers = np.asarray(values, "<f4").ravel()
    return b"".join(map(integer, (2, len(numbers), 1, 1, 1))) + numbers.tobytes()


@pytest.fixture(scope="module")
def layers():
    """Made-up weight, bias, factor and addend of each of dlib's layers, from the image on."""
    rng = np.random.default_rng(3)
    shapes = [(32, 3, 7, 7)]
    channels = 32
    for width, blocks, _ in LEVELS:
        for _ in range(blocks):
            shapes += [(width, channels, 3, 3), (width, width, 3, 3)]
            channels = width
    return [
        (
            rng.normal(0, 0.3 / np.sqrt(np.prod(shape[1:])), shape).astype("f"),
            rng.normal(0, 0.1, shape[0]).astype("f"),
            rng.uniform(2, 5, shape[0]).astype("f"),
            rng.normal(0.2, 0.3, shape[0]).astype("f"),
        )
        for shape in shapes
    ]


@pytest.fixture(scope="module")
def dlib_file(layers, tmp_path_factory):
    """A file in the form of dlib's: other things stand before, between and after the tensors."""
    content = b"\x01\x01\x01\rloss_metric_2\x01\x02\x01\x02"
    for weight, bias, factor, addend in layers:
        content += b"\x01\x05con_4" + write_tensor(np.concatenate([weight.ravel(), bias]))
        content += b"\x01\x03\x01\x07affine_" + write_tensor(np.concatenate([factor, addend]))
    path = tmp_path_factory.mktemp("dlib") / "made-up.dat"
    path.write_bytes(content + b"\x01\x07fc_2\x01\x02")
    return path


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(5)
    coarse = torch.from_numpy(rng.uniform(0, 255, (40, 1, 6, 6)).astype("f"))
    smooth = F.interpolate(coarse, (48, 48), mode="bicubic", align_corners=False)
    return smooth[:, 0].clamp(0, 255).to(torch.uint8).numpy()


def computed_as_dlib_does(layers, faces):
    """The features of grey faces by dlib's definition: colours, fixed affine layers, averaged shortcuts."""
    grey = F.interpolate(
        torch.from_numpy(faces)[:, None].float(), (112, 112), mode="bilinear", align_corners=False
    )
    means = torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1)
    x = (grey.expand(-1, 3, -1, -1) - means) / 256
    remaining = iter(layers)

    def layer(x, stride=1, padding=1):
        weight, bias, factor, addend = (torch.from_numpy(values) for values in next(remaining))
        x = F.conv2d(x, weight, bias, stride, padding)
        return x * factor.view(1, -1, 1, 1) + addend.view(1, -1, 1, 1)

    x = F.max_pool2d(F.relu(layer(x, 2, 0)), 3, 2)
    for width, blocks, strided in LEVELS:
        for block in range(blocks):
            if strided and block == 0:
                y = layer(F.relu(layer(x, 2, 0)))
                pooled = F.avg_pool2d(x, 2)
                side = max(y.shape[2], pooled.shape[2])
                total = torch.zeros(len(x), width, side, side)
                total[:, :, : y.shape[2], : y.shape[3]] += y
                total[:, : x.shape[1], : pooled.shape[2], : pooled.shape[3]] += pooled
                x = F.relu(total)
            else:
                x = F.relu(x + layer(F.relu(layer(x))))
    return x.mean((2, 3))


def test_recognizing_net_computes_what_dlib_does(layers, dlib_file, faces):
    net = dlib_weights.recognizing_net(dlib_file, faces[:16]).eval()
    with torch.no_grad():
        features = net.embed(normalize(torch.from_numpy(faces)))
    expected = computed_as_dlib_does(layers, faces)
    assert expected.std() > 0.1
    torch.testing.assert_close(features, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))


def test_recognizing_net_can_be_trained(dlib_file, faces):
    """Weights have the usual size, and batches the statistics that the norms expect."""
    net = dlib_weights.recognizing_net(dlib_file, faces)
    fresh = EmotionNet(ARCHITECTURES[FACE_TEACHER])
    layers = (normalized_convolutions(net), normalized_convolutions(fresh))
    for (_, convolution, norm), (_, usual, _) in zip(*layers, strict=True):
        sizes = [float(layer.weight.detach().square().mean().sqrt()) for layer in (convolution, usual)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.2)
        assert norm.weight.requires_grad
    net.eval()
    with torch.no_grad():
        before = net.embed(normalize(torch.from_numpy(faces)))
        net.train()
        net.dropout.p = 0.0
        during = net.embed(normalize(torch.from_numpy(faces)))
    torch.testing.assert_close(during, before, rtol=1e-2, atol=1e-2 * float(before.abs().max()))


@pytest.mark.parametrize("model", ["edge", "nano"])
def test_bundled_model_becomes_trainable_and_computes_the_same(model, faces):
    net = pretrained.exported_net(model)
    before = predict_heads(net, torch.from_numpy(faces)).fer2013
    assert is_folded(net)
    assert not any(norm.weight.requires_grad for _, _, norm in normalized_convolutions(net))
    restore_norms(net, faces)
    torch.testing.assert_close(
        predict_heads(net, torch.from_numpy(faces)).fer2013, before, atol=1e-3, rtol=1e-3
    )
    net.train()
    assert all(norm.training and norm.weight.requires_grad for _, _, norm in normalized_convolutions(net))
    assert not is_folded(net)


def test_files_that_are_not_dlibs_are_reported(dlib_file, faces, tmp_path):
    whole = dlib_file.read_bytes()
    numbers = whole.index(b"con_4") + len(b"con_4" + b"".join(map(integer, (2, 4736, 1, 1, 1))))
    for content, reason in (
        (b"nonsense", "no 4736 numbers"),
        (whole[: len(whole) // 2], "numbers"),
        (whole[:numbers] + b"\x00\x00\xc0\x7f" + whole[numbers + 4 :], "not finite"),
    ):
        path = tmp_path / "bad.dat"
        path.write_bytes(content)
        with pytest.raises(fer_edge.ModelError, match=reason):
            dlib_weights.recognizing_net(path, faces)
    with pytest.raises(fer_edge.ModelError, match="cannot be read"):
        dlib_weights.recognizing_net(tmp_path / "none.dat", faces)


def test_face_teacher_without_its_package_names_the_extra(cli, drawn_csv, tmp_path, monkeypatch):
    find = dlib_weights.importlib.util.find_spec
    monkeypatch.setattr(
        dlib_weights.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "face_recognition_models" else find(name, *rest),
    )
    run = tmp_path / "run"
    code, _, err = cli("train", "--data", drawn_csv, "--model", "face-teacher", "--out", run, "--epochs", 1)
    assert code == 2
    assert "pip install 'fer-edge[teacher]'" in err
    assert not (run / "last.pt").exists()


def test_a_file_with_other_content_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "face_recognition_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('needs pkg_resources')")
    (package / "models" / "dlib_face_recognition_resnet_model_v1.dat").write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(fer_edge.ModelError, match=r"not the file of face_recognition_models 0\.3\.0"):
        dlib_weights.package_file()


def test_train_command_begins_with_dlibs_weights(cli, dlib_file, tmp_path, monkeypatch):
    few = write_csv(tmp_path / "few.csv", {"Training": 4, "PublicTest": 1})
    monkeypatch.setattr(pretrained, "package_file", lambda: dlib_file)
    run = tmp_path / "run"
    options = ("--data", few, "--model", "face-teacher", "--batch", 14, "--threads", 1, "--out", run)
    code, _, err = cli(
        "train", *options, "--epochs", 1, "--learning-rate", 1e-9, "--weight-decay", 0, "--warmup", 0
    )
    assert code == 0, err
    trained, _ = checkpoint.load_net(run / "best.pt")
    expected = dlib_weights.recognizing_net(dlib_file, fer_edge.read_fer2013(few).pixels)
    assert trained.architecture == expected.architecture
    first, other = (next(normalized_convolutions(net))[1] for net in (trained, expected))
    torch.testing.assert_close(first.weight, other.weight, atol=1e-4, rtol=1e-3)
    monkeypatch.setattr(pretrained, "package_file", missing_package)
    code, _, err = cli(
        "train",
        *options,
        *("--epochs", 1, "--learning-rate", 1e-9, "--weight-decay", 0, "--warmup", 0, "--resume"),
    )
    assert code == 0, err
    code, _, err = cli("export-int8", run / "best.pt", "--calibration", few, "--out", tmp_path / "model")
    assert code == 2
    assert "train a student with --teacher" in err


def missing_package():
    raise AssertionError("asked for dlib's file")


def test_the_seed_decides_what_dlib_does_not_give(dlib_file, faces, monkeypatch):
    monkeypatch.setattr(pretrained, "package_file", lambda: dlib_file)
    one, same, other = (pretrained.initial_net("face-teacher", faces, seed) for seed in (1, 1, 2))
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert pretrained.initial_net("edge", faces, 1) is None


def test_a_model_that_is_not_bundled_is_reported():
    with pytest.raises(fer_edge.ModelError, match="no model 'mega': bundled are edge, nano"):
        pretrained.exported_net("mega")


@pytest.fixture
def exported(tmp_path):
    """A folder with the model `nano`, such as an older version of it."""
    folder = tmp_path / "older"
    shutil.copytree(WEIGHTS, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["models"]["edge"]
    options = manifest["models"]["nano"]["training_options"]
    options["smoothing"] = options.pop("label_smoothing", 0.1)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_an_exported_model_is_taken_from_its_folder_or_its_exact_onnx_file(exported, faces):
    expected = predict_heads(pretrained.exported_net("nano"), torch.from_numpy(faces)).fer2013
    for name in (exported, exported / "nano-fp32.onnx"):
        assert pretrained.is_exported(str(name))
        logits = predict_heads(pretrained.exported_net(name), torch.from_numpy(faces)).fer2013
        assert torch.equal(logits, expected)
    with pytest.raises(fer_edge.ModelError, match="needs the fp32 ONNX file"):
        pretrained.exported_net(exported / "nano-int8.onnx")
    with pytest.raises(fer_edge.ModelError, match="has no onnx fp32 file"):
        pretrained.exported_net(exported / "nano-fp32.tflite")
    content = (exported / "nano-fp32.onnx").read_bytes()
    (exported / "nano-fp32.onnx").write_bytes(content[:-1] + b"x")
    with pytest.raises(fer_edge.ModelError, match="damaged or exchanged"):
        pretrained.exported_net(exported)


def test_a_run_goes_on_from_an_exported_model_and_tells_no_path(cli, drawn_csv, exported, tmp_path):
    out = tmp_path / "run"
    code, _, err = cli(
        *(
            "train",
            "--data",
            drawn_csv,
            "--model",
            "nano",
            "--initial-weights",
            exported,
            "--teacher",
            exported,
        ),
        *("--out", out, "--epochs", 1, "--batch", 70, "--threads", 1, "--learning-rate", 1e-6),
    )
    assert code == 0, err
    manifest = exported / "manifest.json"
    assert (
        err.count(f"{manifest}: written by an earlier version: smoothing is now called label_smoothing") == 1
    )
    state = checkpoint.load(out / "last.pt")
    begun = pretrained.exported_net("nano").classifier.weight
    torch.testing.assert_close(state["ema"]["classifier.weight"], begun, atol=1e-3, rtol=1e-3)
    stages = [stage["stage"] for stage in state["origin"]]
    assert stages[-2:] == ["initial weights: exported nano", "given teacher: exported nano"]


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(fer_edge.FerEdgeError, match=r"fer-edge\[export\]"):
        pretrained.exported_net("edge")


@pytest.mark.parametrize("live", [(), ("--live-teachers",)])
def test_a_bundled_model_teaches(cli, drawn_csv, tmp_path, live):
    """What is learned from it alone is what it answers, not the label."""
    out = tmp_path / "run"
    code, _, err = cli(
        *("train", "--data", drawn_csv, "--model", "nano", "--teacher", "edge", "--out", out),
        *("--epochs", 1, "--batch", 70, "--distill-weight", 1, "--threads", 1, *live),
    )
    assert code == 0, err
    assert (out / "teacher_logits.npz").exists() == (not live)
    if not live:
        dataset = fer_edge.read_fer2013(drawn_csv)
        training = dataset.pixels[dataset.usage == "Training"]
        training = training[~held_out_tenth(training)]
        stored = np.load(out / "teacher_logits.npz")["logits"]
        expected = predict_heads(pretrained.exported_net("edge"), torch.from_numpy(training)).fer2013.numpy()
        # The stored ones are means over shifted and mirrored faces.
        assert np.corrcoef(stored.ravel(), expected.ravel())[0, 1] > 0.9
