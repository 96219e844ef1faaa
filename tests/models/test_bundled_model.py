"""What the shipped weights reach on the development data; skipped where it is not there."""

from __future__ import annotations

import numpy as np
import pytest

import fer_edge
from fer_edge.checks.accuracy import measure
from fer_edge.fer2013.duplicates import in_training
from fer_edge.models.backends import available_backends
from fer_edge.models.manifest import bundled_models, model_files, read_manifest

BACKENDS = available_backends()
LEAST_ACCURACY = {"edge": 0.685, "nano": 0.66}
LARGEST_CALIBRATION_ERROR = 0.03
LARGEST_FILE = {
    ("edge", "litert"): 500_000,
    ("edge", "onnx"): 500_000,
    ("nano", "litert"): 150_000,
    ("nano", "onnx"): 150_000,
}
MOST_LOST = 0.003
"""Accuracy that int8 may lose against fp32."""


@pytest.fixture(scope="module")
def public_test(fer2013):
    """Pixels and labels of PublicTest, and which rows' images are not in Training."""
    dataset = fer_edge.read_fer2013(fer2013)
    chosen = dataset.usage == "PublicTest"
    return dataset.pixels[chosen], dataset.labels[chosen], ~in_training(dataset)[chosen]


@pytest.mark.parametrize("model", bundled_models())
@pytest.mark.parametrize("backend", BACKENDS)
def test_int8_accuracy_on_public_test(public_test, model, backend):
    pixels, labels, clean = public_test
    int8, fp32 = (
        measure(fer_edge.load_classifier(model, backend, precision).predict(pixels[clean]), labels[clean])
        for precision in ("int8", "fp32")
    )
    assert int8.accuracy >= LEAST_ACCURACY[model]
    assert int8.accuracy >= fp32.accuracy - MOST_LOST
    assert int8.ece <= LARGEST_CALIBRATION_ERROR


@pytest.mark.parametrize("model", bundled_models())
def test_int8_files_are_small(model):
    files = [file for file in model_files() if file.model == model and file.precision == "int8"]
    assert {file.backend for file in files} == {"litert", "onnx"}
    for file in files:
        assert file.size <= LARGEST_FILE[model, file.backend]


@pytest.mark.skipif(len(BACKENDS) < 2, reason="needs LiteRT and ONNX Runtime")
@pytest.mark.parametrize("model", bundled_models())
def test_backends_give_the_same_int8_answer(public_test, model):
    classifiers = [fer_edge.load_classifier(model, backend) for backend in BACKENDS]
    first, second = (classifier.predict_logits(public_test[0]) for classifier in classifiers)
    assert np.mean(first.argmax(1) == second.argmax(1)) >= 0.998
    assert round(float(np.abs(first - second).max()) / classifiers[0].file.output.scale) <= 1


@pytest.mark.parametrize("model", bundled_models())
def test_manifest_tells_the_accuracy_that_is_measured(public_test, model):
    pixels, labels, clean = public_test
    classifier = fer_edge.load_classifier(model)
    measured = 100 * measure(classifier.predict(pixels[clean]), labels[clean]).accuracy
    manifest = read_manifest(classifier.file.path.parent)["models"][model]
    assert manifest["held_out"]["rows"] == clean.sum()
    told = manifest["files"][classifier.file.path.name]["held_out"]["accuracy"]
    assert measured == pytest.approx(told, abs=0.25)
