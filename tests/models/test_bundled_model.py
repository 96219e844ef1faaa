"""What the shipped weights reach on the development data; skipped where it is not there."""

from __future__ import annotations

import numpy as np
import pytest

import fer_edge
from fer_edge.checks.accuracy import measure
from fer_edge.checks.agreement import crowd_figures, read_crowd
from fer_edge.fer2013.duplicates import in_training
from fer_edge.fer2013.votes import people_votes, read_votes
from fer_edge.models.backends import available_backends
from fer_edge.models.manifest import PRECISIONS, bundled_models, model_files, read_manifest

BACKENDS = available_backends()
LEAST_ACCURACY = {"edge": 0.695, "nano": 0.665}
LEAST_AGREEMENT = {"edge": 0.85, "nano": 0.80}
"""With the one top vote of ten people, at the model's balance."""
LEAST_MEAN_RECALL = {"edge": 0.80, "nano": 0.77}
LEAST_SURE = 0.6
"""Share of the answers that do not count as unsure."""
LEAST_SURE_AGREEMENT = 0.91
"""Of those answers."""
LARGEST_CALIBRATION_ERROR = 0.03
"""Of each head."""
LARGEST_FILE = {
    ("edge", "litert"): 570_000,
    ("edge", "onnx"): 570_000,
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


@pytest.fixture(scope="module")
def public_votes(fer2013, ferplus):
    """The FER+ votes of PublicTest, uint8 (n, 10)."""
    usage = fer_edge.read_fer2013(fer2013).usage
    return read_votes(ferplus, len(usage), usage)[usage == "PublicTest"]


@pytest.mark.parametrize("model", bundled_models())
@pytest.mark.parametrize("backend", BACKENDS)
def test_int8_accuracy_on_public_test(public_test, model, backend):
    pixels, labels, clean = public_test
    int8, fp32 = (
        measure(
            fer_edge.load_classifier(model, backend, precision, labels="fer2013").predict(pixels[clean]),
            labels[clean],
        )
        for precision in ("int8", "fp32")
    )
    assert int8.accuracy >= LEAST_ACCURACY[model]
    assert int8.accuracy >= fp32.accuracy - MOST_LOST
    assert int8.ece <= LARGEST_CALIBRATION_ERROR


@pytest.mark.parametrize("model", bundled_models())
@pytest.mark.parametrize("backend", BACKENDS)
def test_int8_agreement_with_people_on_public_test(public_test, public_votes, model, backend):
    pixels, _, clean = public_test
    crowd = read_crowd(public_votes[clean])
    int8, fp32 = (
        crowd_figures(classifier.distributions(pixels[clean])["people"], classifier.people, crowd)
        for classifier in (fer_edge.load_classifier(model, backend, precision) for precision in PRECISIONS)
    )
    balance = fer_edge.load_classifier(model, backend).people.balance
    reached, unquantized = (
        next(one for one in figures.balances if one.balance == balance) for figures in (int8, fp32)
    )
    assert reached.agreement >= LEAST_AGREEMENT[model]
    assert reached.mean_recall >= LEAST_MEAN_RECALL[model]
    assert reached.agreement >= unquantized.agreement - MOST_LOST
    assert int8.share_error <= LARGEST_CALIBRATION_ERROR
    assert int8.sure.agreement >= LEAST_SURE_AGREEMENT
    assert int8.sure.rows >= LEAST_SURE * int8.share_rows


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
    first, second = (classifier.logits(public_test[0]) for classifier in classifiers)
    for head, spec in classifiers[0].file.outputs.items():
        assert np.mean(first[head].argmax(1) == second[head].argmax(1)) >= 0.998
        assert round(float(np.abs(first[head] - second[head]).max()) / spec.scale) <= 1


@pytest.mark.parametrize("model", bundled_models())
def test_manifest_tells_the_accuracy_that_is_measured(public_test, public_votes, model):
    """By votes: of the nine answers, on the rows with one top vote, be it for an emotion or not."""
    pixels, labels, clean = public_test
    classifier = fer_edge.load_classifier(model)
    found = classifier.distributions(pixels[clean])
    votes = people_votes(public_votes[clean])
    single = (votes == votes.max(1, keepdims=True)).sum(1) == 1
    measured = {
        "fer2013": 100 * measure(found["fer2013"], labels[clean]).accuracy,
        "people": 100 * (found["people"].argmax(1) == votes.argmax(1))[single].mean(),
    }
    manifest = read_manifest(classifier.file.path.parent)["models"][model]
    assert manifest["held_out"]["rows"] == clean.sum()
    told = manifest["files"][classifier.file.path.name]["held_out"]
    assert told.keys() == measured.keys()
    for head, accuracy in measured.items():
        assert accuracy == pytest.approx(told[head]["accuracy"], abs=0.25)
