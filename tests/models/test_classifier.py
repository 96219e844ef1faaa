"""Bundled models on every installed backend, and models that are not what they should be."""

from __future__ import annotations

import inspect
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fer_edge
from fer_edge.faces.faces import Faces
from fer_edge.labels import ANSWERS, LABELS
from fer_edge.models.backends import available_backends
from fer_edge.models.classifier import softmax
from fer_edge.models.manifest import WEIGHTS, digest_of, find_model, model_files, read_manifest
from fer_edge.models.people import interpret
from fer_edge.models.reference import deviation, tolerance

BACKENDS = available_backends()
PRECISIONS = ("int8", "fp32")


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(7).integers(0, 256, (5, 48, 48), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path):
    """A folder with a copy of the bundled model edge that a test may spoil."""
    folder = shutil.copytree(WEIGHTS, tmp_path / "weights", ignore=shutil.ignore_patterns("nano*"))
    manifest = read_manifest(folder)
    del manifest["models"]["nano"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def one_headed(weights):
    """The folder ``weights`` with a manifest of format 1, which knows nothing of people."""
    manifest = read_manifest(weights)
    entry = manifest["models"]["edge"]
    del entry["people"]
    entry["temperature"] = entry["temperature"]["fer2013"]
    for file in entry["files"].values():
        file["output"] = file.pop("outputs")["fer2013"]
        file["reference"]["logits"] = file["reference"]["logits"]["fer2013"]
        file["held_out"] = file["held_out"]["fer2013"]
    manifest["format"] = "fer-edge manifest 1"
    (weights / "manifest.json").write_text(json.dumps(manifest))
    return weights


def test_a_digest_tells_what_a_model_answers_by(weights):
    assert digest_of(weights) == digest_of("edge") != digest_of("nano")
    manifest = read_manifest(weights)
    manifest["models"]["edge"]["epochs"] += 1
    (weights / "manifest.json").write_text(json.dumps(manifest))
    assert digest_of(weights) == digest_of("edge")
    files = manifest["models"]["edge"]["files"]
    digests = {digest_of(weights / name) for name in files}
    assert len(digests) == len(files)
    files[min(files)]["sha256"] = "0" * 64
    (weights / "manifest.json").write_text(json.dumps(manifest))
    assert digest_of(weights) != digest_of("edge")
    assert len(digests & {digest_of(weights / name) for name in files}) == len(files) - 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("labels", LABELS)
def test_predict_gives_a_distribution_for_each_face(faces, backend, precision, labels):
    classifier = fer_edge.load_classifier(backend=backend, precision=precision, labels=labels)
    probabilities = classifier.predict(faces)
    assert probabilities.shape == (5, 7)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("labels", LABELS)
def test_answers_are_what_the_distribution_of_the_head_means(faces, labels):
    classifier = fer_edge.load_classifier(labels=labels)
    told = classifier.distributions(faces)
    assert classifier.heads == tuple(told) == LABELS
    for head, rows in told.items():
        assert rows.shape == (5, len(ANSWERS[head]))
        np.testing.assert_allclose(rows, softmax(classifier.logits(faces)[head]), rtol=1e-6)
    answers = classifier.answer(faces)
    assert answers.labels == labels
    np.testing.assert_array_equal(answers.probabilities, classifier.predict(faces))
    if labels == "people":
        assert classifier.people is not None
        expected = interpret(told["people"], classifier.people)
        np.testing.assert_array_equal(answers.probabilities, expected.probabilities)
        np.testing.assert_array_equal(answers.emotions, expected.emotions)
        np.testing.assert_array_equal(answers.unsure, expected.unsure)
    else:
        np.testing.assert_array_equal(answers.probabilities, told["fer2013"])
        np.testing.assert_array_equal(answers.emotions, told["fer2013"].argmax(1))
        assert not answers.unsure.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_manifest_of_format_1_answers_with_the_labels_of_2013_only(one_headed, faces, backend):
    expected = fer_edge.load_classifier("edge", backend).distributions(faces)["fer2013"]
    classifier = fer_edge.load_classifier(one_headed, backend, labels="fer2013")
    assert (classifier.heads, classifier.people) == (("fer2013",), None)
    assert deviation(classifier) <= tolerance(classifier)
    for found in (classifier.predict(faces), classifier.distributions(faces)["fer2013"]):
        np.testing.assert_array_equal(found, expected)
    name = classifier.file.path.name
    with pytest.raises(
        fer_edge.ModelError, match=rf"{name}: .* 2013 only; choose labels='fer2013' \(--labels"
    ):
        fer_edge.load_classifier(one_headed, backend)
    with pytest.raises(fer_edge.ModelError, match="2013 only"):
        fer_edge.Recognizer(one_headed, backend)
    assert fer_edge.Recognizer(one_headed, backend, labels="fer2013").classifier.labels == "fer2013"


def test_a_manifest_of_another_format_is_refused(weights):
    manifest = read_manifest(weights)
    manifest["format"] = "fer-edge manifest 3"
    (weights / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fer_edge.ModelError, match="expected format 'fer-edge manifest 2'"):
        fer_edge.load_classifier(weights)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda people: people.pop("balance"),
        lambda people: people["prior"].pop(),
        lambda people: people.update(unsure_above="often"),
        lambda people: people.update(unsure_above=float("nan")),
        lambda people: people.update(unsure_above=1.5),
        lambda people: people.update(balance=float("nan")),
        lambda people: people.update(balance=2.5),
        lambda people: people.update(balance=-0.5),
        lambda people: people.update(prior=[0.0] * 7),
        lambda people: people["prior"].__setitem__(2, float("nan")),
        lambda people: people["prior"].__setitem__(2, -0.1),
    ],
)
def test_incomplete_settings_of_people_are_refused(weights, spoil):
    manifest = read_manifest(weights)
    spoil(manifest["models"]["edge"]["people"])
    (weights / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fer_edge.ModelError, match=r"manifest\.json: an entry is incomplete"):
        fer_edge.load_classifier(weights)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: model.pop("people"),
        lambda model: model.update(contrast="false"),
        lambda model: model["files"]["edge-int8.onnx"]["outputs"].pop("fer2013"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(weights, spoil):
    manifest = read_manifest(weights)
    spoil(manifest["models"]["edge"])
    (weights / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fer_edge.ModelError, match=r"manifest\.json: an entry is incomplete"):
        fer_edge.load_classifier(weights)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_without_an_output_that_the_manifest_tells_of_is_refused(weights, backend, monkeypatch):
    """Outputs are told apart by how many numbers they have."""
    answers = dict(ANSWERS)
    answers["people"] = (*ANSWERS["people"], "bored")
    monkeypatch.setattr("fer_edge.models.backends.ANSWERS", answers)
    with pytest.raises(
        fer_edge.ModelError, match=r"has outputs of \d, \d numbers; the manifest says 10 \(people"
    ):
        fer_edge.load_classifier(weights, backend)


@pytest.mark.heavy
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_batch_size_and_order_do_not_change_a_face(faces, backend, precision):
    classifier = fer_edge.load_classifier(backend=backend, precision=precision)
    many = classifier.predict(np.concatenate([faces] * 30))
    alone = np.concatenate([classifier.predict(face[None]) for face in faces])
    np.testing.assert_allclose(many, np.concatenate([alone] * 30), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("labels", LABELS)
def test_int8_input_buffer_is_grey_minus_128(faces, backend, labels):
    classifier = fer_edge.load_classifier(backend=backend, precision="int8", labels=labels)
    expected = classifier.distributions(faces)[labels]
    levels = (faces.astype(np.int16) - 128).astype(np.int8)
    found = classifier.predict_filled(5, lambda inputs: np.copyto(inputs, levels, casting="no"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("labels", LABELS)
def test_fp32_input_buffer_is_normalized_grey(faces, backend, labels):
    classifier = fer_edge.load_classifier(backend=backend, precision="fp32", labels=labels)
    expected = classifier.distributions(faces)[labels]
    levels = (faces.astype(np.float32) - 128) / 64
    found = classifier.predict_filled(5, lambda inputs: np.copyto(inputs, levels, casting="no"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_do_not_change_the_answer(faces, backend):
    one, two = (
        fer_edge.load_classifier(backend=backend, threads=threads).predict(faces) for threads in (1, 2)
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_no_faces_give_no_rows():
    assert fer_edge.load_classifier().predict(np.empty((0, 48, 48), np.uint8)).shape == (0, 7)


@pytest.mark.skipif(len(BACKENDS) < 2, reason="needs LiteRT and ONNX Runtime")
@pytest.mark.parametrize(("precision", "tolerance"), [("int8", 1.01), ("fp32", 1e-3)])
def test_backends_agree_on_logits(faces, precision, tolerance):
    litert, onnx = (fer_edge.load_classifier(backend=backend, precision=precision) for backend in BACKENDS)
    first, second = litert.logits(faces), onnx.logits(faces)
    for head in LABELS:
        step = litert.file.outputs[head].scale if precision == "int8" else 1.0
        assert np.abs(first[head] - second[head]).max() / step <= tolerance


def test_softmax_matches_the_formula_and_survives_large_logits():
    np.testing.assert_allclose(softmax(np.log([[1.0, 3.0]])), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]], np.float32)), [[1.0, 0.0]])


@pytest.mark.parametrize(
    ("faces", "error", "message"),
    [
        (np.zeros((1, 48, 48), np.float32), TypeError, "uint8"),
        (np.zeros((48, 48), np.uint8), ValueError, r"\(n, 48, 48\)"),
        (np.zeros((1, 64, 64), np.uint8), ValueError, r"\(1, 64, 64\)"),
    ],
)
def test_wrong_faces_are_refused(faces, error, message):
    with pytest.raises(error, match=message):
        fer_edge.load_classifier().predict(faces)


def test_no_input_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        fer_edge.load_classifier().predict_filled(0, lambda inputs: None)


@pytest.mark.heavy
@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_may_share_a_classifier(faces, backend):
    classifier = fer_edge.load_classifier(backend=backend)
    batches = [faces[: 1 + index % len(faces)] for index in range(8)]
    expected = [classifier.predict(batch) for batch in batches]

    def ask(index):
        return all(np.array_equal(classifier.predict(batches[index]), expected[index]) for _ in range(100))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tensorrt"}, "auto, litert, onnx"),
        ({"precision": "int4"}, "int8, fp32"),
        ({"threads": 0}, "at least 1"),
        ({"labels": "children"}, "labels must be one of people, fer2013; got 'children'"),
    ],
)
def test_unknown_options_are_refused_with_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        fer_edge.load_classifier(**arguments)


def test_unknown_model_lists_the_bundled_ones():
    with pytest.raises(fer_edge.ModelError, match="bundled are edge"):
        fer_edge.load_classifier("vgg")


def test_bundled_files_are_small_and_match_the_manifest():
    files = {file.path.name: file for file in model_files()}
    assert {"edge-int8.tflite", "edge-int8.onnx", "edge-fp32.tflite", "edge-fp32.onnx"} <= files.keys()
    for file in files.values():
        assert len(file.read()) == file.size
    assert files["edge-int8.tflite"].size <= 700_000
    for name in ("edge-int8.tflite", "edge-int8.onnx"):
        assert (files[name].input.scale, files[name].input.zero_point) == (1 / 64, 0)


def test_a_tampered_file_is_refused(weights):
    target = weights / "edge-int8.tflite"
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    with pytest.raises(fer_edge.ModelError, match=r"edge-int8\.tflite.*sha256"):
        find_model(weights, "litert", "int8").read()


def test_a_missing_file_is_named(weights):
    (weights / "edge-int8.onnx").unlink()
    with pytest.raises(fer_edge.ModelError, match=r"edge-int8\.onnx"):
        fer_edge.load_classifier(weights / "edge-int8.onnx", "onnx")


def test_a_file_that_no_manifest_lists_is_refused(weights):
    shutil.copy(weights / "edge-int8.tflite", weights / "mine.tflite")
    with pytest.raises(fer_edge.ModelError, match="not listed"):
        fer_edge.load_classifier(weights / "mine.tflite")


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(fer_edge.ModelError, match="no manifest"):
        fer_edge.load_classifier(tmp_path)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_foreign_file_that_the_manifest_vouches_for_gets_a_clear_error(weights, backend):
    import hashlib

    name = find_model(weights, backend, "int8").path.name
    (weights / name).write_bytes(b"this is no model" * 100)
    manifest = read_manifest(weights)
    entry = manifest["models"]["edge"]["files"][name]
    entry["sha256"] = hashlib.sha256((weights / name).read_bytes()).hexdigest()
    (weights / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fer_edge.ModelError, match=name):
        fer_edge.load_classifier(weights, backend)


def test_onnx_runtime_does_not_say_on_stdout_that_it_tries_again(monkeypatch, capfd):
    """Its class for sessions does after some errors, before it tries the one provider again."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnxruntime.capi.onnxruntime_inference_collection import Session

    if "enable_fallback" not in inspect.signature(Session.__init__).parameters:
        pytest.skip("this version of ONNX Runtime tries again whatever it is told")
    tries = []

    def fail(self, providers, *_):
        self._fallback_providers = ["CPUExecutionProvider"]
        tries.append(providers)
        raise RuntimeError("no memory")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(fer_edge.ModelError, match="no memory"):
        fer_edge.load_classifier(backend="onnx", precision="fp32")
    assert (len(tries), capfd.readouterr().out) == (1, "")


def test_a_manifest_with_other_labels_is_refused(weights):
    manifest = read_manifest(weights)
    manifest["labels"] = manifest["labels"][::-1]
    (weights / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fer_edge.ModelError, match="labels"):
        fer_edge.load_classifier(weights)


@pytest.mark.parametrize("head", LABELS)
def test_a_manifest_with_another_quantization_is_refused(weights, head):
    manifest = read_manifest(weights)
    name = find_model(weights, BACKENDS[0], "int8").path.name
    manifest["models"]["edge"]["files"][name]["outputs"][head]["dtype"] = "float32"
    (weights / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(fer_edge.ModelError, match=rf"edge-int8\.\w+: {head} is "):
        fer_edge.load_classifier(weights, BACKENDS[0])


def test_a_model_file_chooses_its_own_backend():
    for backend in BACKENDS:
        path = find_model("edge", backend, "int8").path
        assert fer_edge.load_classifier(path).backend == backend


@pytest.mark.skipif("litert" not in BACKENDS, reason="needs LiteRT")
def test_auto_prefers_litert_and_falls_back_to_onnx(monkeypatch):
    assert fer_edge.load_classifier().backend == "litert"
    monkeypatch.setattr("fer_edge.models.backends._LITERT_MODULES", ("no_such_module",))
    if "onnx" in BACKENDS:
        assert fer_edge.load_classifier().backend == "onnx"
    with pytest.raises(fer_edge.MissingRuntimeError, match="ai-edge-litert"):
        fer_edge.load_classifier(backend="litert")


def test_tflite_runtime_serves_where_it_is_what_is_installed(monkeypatch, tmp_path, faces):
    """A stand-in package of that name, re-exporting LiteRT's interpreter of the same interface."""
    pytest.importorskip("ai_edge_litert")
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text("from ai_edge_litert.interpreter import Interpreter\n")
    monkeypatch.syspath_prepend(tmp_path)
    expected = fer_edge.load_classifier(backend="litert").predict(faces)
    monkeypatch.setattr("fer_edge.models.backends._LITERT_MODULES", ("no_such_module", "tflite_runtime"))
    np.testing.assert_array_equal(fer_edge.load_classifier(backend="litert").predict(faces), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_keeps_an_error_can_go_on_with_the_recognizer(backend):
    """As a notebook does; the error's traceback would keep the runtime's buffer."""
    recognizer = fer_edge.Recognizer(backend=backend)
    grey = np.random.default_rng(2).integers(0, 256, (80, 80), dtype=np.uint8)
    good = _faces([[10.0, 10.0, 50.0, 50.0]])
    expected = recognizer.classify(grey, good).probabilities
    kept = []
    for frame, where in (
        (grey.astype(np.float32), good),
        (grey, _faces([[np.nan, 10.0, 50.0, 50.0]])),
        (grey[np.newaxis, :, :, np.newaxis], _faces([[10.0, 10.0, 50.0, 50.0]] * 2)),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            recognizer.classify(frame, where)
        kept.append(caught.value)
        np.testing.assert_array_equal(recognizer.classify(grey, good).probabilities, expected)
        three = recognizer.classify(grey, _faces([[10.0, 10.0, 50.0, 50.0]] * 3))
        np.testing.assert_array_equal(three.probabilities, np.repeat(expected, 3, 0))


def _faces(boxes):
    return Faces(
        np.array(boxes, np.float32), np.ones(len(boxes), np.float32), np.zeros((len(boxes), 5, 2), np.float32)
    )
