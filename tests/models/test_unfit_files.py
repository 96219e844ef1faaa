"""Model files that a manifest vouches for and that are no classifier of faces."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

import fer_edge
from fer_edge.models.backends import available_backends
from fer_edge.models.manifest import MANIFEST_FORMAT, MAX_MODEL_BYTES, WEIGHTS, model_files, read_manifest

needs_onnx = pytest.mark.skipif("onnx" not in available_backends(), reason="needs ONNX Runtime")
needs_litert = pytest.mark.skipif("litert" not in available_backends(), reason="needs LiteRT")


def entry_of(name, content, dtype="float32", size=None):
    tensor = {"dtype": dtype, "scale": 1.0, "zero_point": 0}
    return {
        "backend": "onnx" if name.endswith(".onnx") else "litert",
        "precision": "fp32" if dtype == "float32" else "int8",
        "bytes": len(content) if size is None else size,
        "sha256": hashlib.sha256(content).hexdigest(),
        "input": dict(tensor),
        "outputs": {"fer2013": dict(tensor)},
    }


def write_manifest(folder, name, entry):
    manifest = {
        "format": MANIFEST_FORMAT,
        "labels": list(fer_edge.EMOTIONS),
        "models": {"mine": {"files": {name: entry}}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder / name


def vouched(folder, content, name="mine.onnx", dtype="float32"):
    """A model file of this content with a manifest that describes it."""
    (folder / name).write_bytes(content)
    return write_manifest(folder, name, entry_of(name, content, dtype))


def mean_model(shape=("n", 1, 48, 48), width=7, kind="FLOAT", bias=0.0, reshape=None, inputs=1):
    """An ONNX file that answers each of ``width`` times the mean grey level of a face, plus ``bias``."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    element = getattr(TensorProto, kind)
    faces = [helper.make_tensor_value_info(f"faces{i}", element, shape) for i in range(inputs)]
    weights = [numpy_helper.from_array(np.full((1, width, 1, 1), 1, np.float32), "ones")]
    weights.append(numpy_helper.from_array(np.float32(bias), "bias"))
    nodes = [
        helper.make_node("Cast", ["faces0"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=list(range(1, len(shape))), keepdims=1),
        helper.make_node("Mul", ["mean", "ones"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
    ]
    last = "sum"
    if reshape:
        weights.append(numpy_helper.from_array(np.array(reshape, np.int64), "wanted"))
        nodes.append(helper.make_node("Reshape", ["sum", "wanted"], ["reshaped"]))
        last = "reshaped"
    nodes.append(helper.make_node("Cast", [last], ["logits"], to=element))
    result = helper.make_tensor_value_info("logits", element, None if reshape else (shape[0], width, 1, 1))
    if reshape:
        result = helper.make_tensor_value_info("logits", element, (reshape[0], width))
    graph = helper.make_graph(nodes, "mean", faces, [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@needs_onnx
def test_a_model_that_fits_answers(tmp_path):
    """The other models of this file differ from it in the one thing that they are refused for."""
    path = vouched(tmp_path, mean_model(bias=3.0))
    classifier = fer_edge.load_classifier(path, labels="fer2013")
    faces = np.full((3, 48, 48), 128 + 32, np.uint8)
    np.testing.assert_allclose(classifier.logits(faces)["fer2013"], np.full((3, 7), 3.5))


@needs_onnx
@pytest.mark.parametrize(
    ("options", "found", "wanted"),
    [
        ({"shape": ("n", 1, 64, 64)}, r"input of shape \(n, 1, 64, 64\)", r"\(n, 1, 48, 48\)"),
        ({"shape": ("n", 3, 48, 48)}, r"\(n, 3, 48, 48\)", "grey faces of 48x48"),
        ({"shape": ("n", 48, 48, 1)}, r"\(n, 48, 48, 1\)", r"\(n, 1, 48, 48\)"),
        ({"shape": ("n", 2304)}, r"\(n, 2304\)", r"\(n, 1, 48, 48\)"),
        ({"shape": (1, 1, 48, 48)}, "takes 1 face at a time", "dynamic_shapes"),
        ({"shape": (4, 1, 48, 48)}, "takes 4 faces at a time", "dynamic_shapes"),
        ({"reshape": (1, 7)}, "fails on two faces at once", "takes any number"),
        ({"reshape": (7, -1)}, r"two faces with an array of shape \(7, 2\)", r"\(2, 7\)"),
        ({"inputs": 2}, "has 2 inputs", "has one"),
        ({"width": 8}, "outputs of 8 numbers", "7 .fer2013."),
        ({"kind": "DOUBLE"}, "input is float64", "the manifest says float32"),
        ({"kind": "FLOAT16"}, "input is float16", "the manifest says float32"),
        ({"kind": "UINT8"}, "input is uint8", "the manifest says float32"),
        ({"kind": "INT8"}, "input is int8", "the manifest says float32"),
        ({"bias": np.nan}, "answers nan to face 1 of 2", "finite numbers"),
        ({"bias": np.inf}, "answers inf to face 1 of 2", "finite numbers"),
    ],
)
def test_another_onnx_model_is_refused_with_what_is_wrong(tmp_path, options, found, wanted):
    path = vouched(tmp_path, mean_model(**options))
    with pytest.raises(fer_edge.ModelError, match=rf"mine\.onnx: .*{found}.*{wanted}"):
        fer_edge.load_classifier(path, labels="fer2013")


@needs_onnx
def test_an_answer_that_is_no_number_is_an_error_whenever_it_comes(tmp_path):
    """log(1 + mean) is 0 for grey level 128, with which models are tried out, and nan for 0, a mean of -2."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(mean_model(bias=1.0))
    graph = model.graph
    graph.node[-1].input[0] = "logarithm"
    graph.node.insert(len(graph.node) - 1, onnx.helper.make_node("Log", ["sum"], ["logarithm"]))
    classifier = fer_edge.load_classifier(vouched(tmp_path, model.SerializeToString()), labels="fer2013")
    faces = np.full((3, 48, 48), 128, np.uint8)
    assert classifier.predict(faces).shape == (3, 7)
    faces[2] = 0
    with pytest.raises(fer_edge.ModelError, match=r"mine\.onnx: answers nan to face 3 of 3"):
        classifier.predict(faces)
    assert np.isfinite(classifier.predict(faces[:2])).all()


@needs_onnx
def test_external_data_is_refused_before_any_other_file_is_read(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(mean_model())
    path = tmp_path / "mine.onnx"
    onnx.save(model, path, save_as_external_data=True, location="beside.bin", size_threshold=0)
    assert (tmp_path / "beside.bin").exists()
    vouched(tmp_path, path.read_bytes())
    with pytest.raises(fer_edge.ModelError, match=r"mine\.onnx: keeps weights in another file"):
        fer_edge.load_classifier(path, labels="fer2013")


@needs_litert
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (1, 64, 64, 1)}, r"input of shape \(1, 64, 64, 1\); .* \(n, 48, 48, 1\)"),
        ({"shape": (1, 48, 48, 3)}, r"input of shape \(1, 48, 48, 3\)"),
        ({"dtype": np.uint8}, "input is uint8, the manifest says float32"),
        ({"dtype": np.float16}, "input is float16, the manifest says float32"),
    ],
)
def test_another_tflite_model_is_refused_with_what_is_wrong(monkeypatch, change, message):
    """The interpreter tells other tensors than the file has."""
    from fer_edge.models import backends

    class Other(backends.litert_interpreter_class()):
        def get_input_details(self):
            (details,) = super().get_input_details()
            return [details | change]

    monkeypatch.setattr(backends, "litert_interpreter_class", lambda: Other)
    with pytest.raises(fer_edge.ModelError, match=rf"edge-fp32\.tflite: .*{message}"):
        fer_edge.load_classifier(backend="litert", precision="fp32")


@needs_litert
def test_damaged_weights_are_found_when_a_tflite_model_is_loaded(tmp_path):
    """The last of many constants of a fp32 file are the weights of its layers; all are made nan."""
    name = "edge-fp32.tflite"
    content = bytearray((WEIGHTS / name).read_bytes())
    content[300_000:700_000] = b"\xff" * 400_000
    manifest = read_manifest(WEIGHTS)
    entry = manifest["models"]["edge"]["files"][name]
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / name).write_bytes(content)
    manifest["models"] = {"edge": manifest["models"]["edge"] | {"files": {name: entry}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fer_edge.ModelError, match=r"edge-fp32\.tflite: (answers nan|LiteRT cannot load)"):
        fer_edge.load_classifier(tmp_path, "litert", "fp32")


def sparse(path, size):
    with path.open("wb") as stream:
        stream.truncate(size)


def test_a_huge_file_is_refused_unread(tmp_path):
    """1 TB of a hole, which takes no room on the disk, and no time where nothing of it is read."""
    sparse(tmp_path / "mine.onnx", 1 << 40)
    write_manifest(tmp_path, "mine.onnx", entry_of("mine.onnx", b"small"))
    with pytest.raises(fer_edge.ModelError, match=r"has 1099511627776 bytes but manifest\.json says 5"):
        fer_edge.load_classifier(tmp_path / "mine.onnx", labels="fer2013")
    write_manifest(tmp_path, "mine.onnx", entry_of("mine.onnx", b"", size=1 << 40))
    with pytest.raises(fer_edge.ModelError, match=f"at most {MAX_MODEL_BYTES} are read"):
        fer_edge.load_classifier(tmp_path / "mine.onnx", labels="fer2013")
    sparse(tmp_path / "manifest.json", 1 << 40)
    with pytest.raises(fer_edge.ModelError, match=r"manifest\.json: has 1099511627776 bytes"):
        fer_edge.load_classifier(tmp_path / "mine.onnx", labels="fer2013")
    sparse(tmp_path / "yunet.onnx", 1 << 40)
    with pytest.raises(fer_edge.ModelError, match=r"face detector .*yunet\.onnx: has 1099511627776 bytes"):
        fer_edge.Recognizer(detector_model=tmp_path / "yunet.onnx")


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo])
def test_what_has_no_end_is_refused_unread(tmp_path, make):
    entry = entry_of("mine.onnx", b"small")
    make(tmp_path / "mine.onnx")
    write_manifest(tmp_path, "mine.onnx", entry)
    (file,) = model_files(tmp_path)
    with pytest.raises(fer_edge.ModelError, match=r"mine\.onnx: not a regular file"):
        file.read()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bytes", "5", "bytes is '5'; want a whole number"),
        ("bytes", True, "bytes is True"),
        ("sha256", 7, "sha256 is 7"),
        ("backend", "tensorrt", "backend is 'tensorrt'; want one of litert, onnx"),
        ("precision", ["int8"], "precision is .*int8"),
        ("input", {"dtype": "float32", "scale": "1", "zero_point": 0}, "scale is '1'; want a number above 0"),
        ("input", {"dtype": "float32", "scale": float("nan"), "zero_point": 0}, "scale is nan"),
        ("input", {"dtype": "float32", "scale": 0, "zero_point": 0}, "scale is 0"),
        ("input", {"dtype": "int8", "scale": 1, "zero_point": 0.5}, "zero_point is 0.5"),
        ("input", {"dtype": "uint8", "scale": 1, "zero_point": 0}, "dtype is 'uint8'; want one of"),
        ("input", [1, 2], "TypeError"),
        ("outputs", {}, "outputs are none; want people and fer2013"),
        ("outputs", {"ferplus": {}}, "outputs are ferplus; want people and fer2013"),
        ("reference", {"face": 1, "logits": {"fer2013": ["much"]}}, "much"),
    ],
)
def test_a_manifest_with_values_of_other_types_is_refused(tmp_path, key, value, message):
    write_manifest(tmp_path, "mine.onnx", entry_of("mine.onnx", b"small") | {key: value})
    with pytest.raises(fer_edge.ModelError, match=rf"manifest\.json: .*{message}"):
        model_files(tmp_path)


def test_a_manifest_nested_without_end_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("[" * 1_000_000)
    with pytest.raises(fer_edge.ModelError, match=r"manifest\.json: not a readable manifest"):
        read_manifest(tmp_path)
