"""The same results on every architecture: what reference.json holds, for both kernels and both runtimes."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from reference import FILE, crops, decoded, drawn_faces, int8_files, parsed, quantized_logits, shrunk

from fer_edge.labels import LABELS
from fer_edge.models.backends import available_backends

STORED = json.loads(FILE.read_text())
REMEDY = "run `make reference` and commit tests/reference.json"


def test_faces_are_those_of_the_reference():
    assert zlib.crc32(drawn_faces().tobytes()) == STORED["faces"]


@pytest.mark.usefixtures("kernels")
def test_crops_are_equal_to_the_byte():
    assert crops() == STORED["crops"]


@pytest.mark.usefixtures("kernels")
def test_smaller_frames_are_equal_to_the_byte():
    assert shrunk() == STORED["shrunk"]


@pytest.mark.usefixtures("kernels")
def test_decoded_faces_are_equal_to_the_bit():
    assert decoded() == STORED["decoded"]
    assert decoded()["faces"] > 100


@pytest.mark.usefixtures("kernels")
def test_parsed_rows_are_equal_to_the_byte():
    assert parsed() == STORED["parsed"]


def test_reference_is_of_the_bundled_models():
    bundled = {file.path.name: file.sha256 for file in int8_files()}
    stored = {name: entry["sha256"] for name, entry in STORED["models"].items()}
    assert stored == bundled, f"tests/reference.json is of other model files: {REMEDY}"


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("file", int8_files(), ids=lambda file: file.path.name)
def test_int8_logits_are_within_one_step(file):
    if file.backend not in available_backends():
        pytest.skip(f"{file.backend} is not installed")
    entry = STORED["models"].get(file.path.name, {})
    if entry.get("sha256") != file.sha256:
        pytest.fail(f"tests/reference.json is stale: it is not of this {file.path.name}; {REMEDY}")
    computed = quantized_logits(file, drawn_faces())
    assert computed.keys() == entry["logits"].keys() == set(LABELS)
    for head, logits in computed.items():
        _check(logits, np.array([row.split() for row in entry["logits"][head]], int))


def _check(computed, stored):
    assert np.abs(computed - stored).max() <= 1
    # Two logits that differ by one step each may change places.
    ranked = np.sort(stored, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2
    assert clear.sum() >= len(stored) // 2
    assert np.array_equal(computed[clear].argmax(1), stored[clear].argmax(1))
