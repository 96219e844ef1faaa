"""The kernel that parses rows: C and NumPy find the same pixels and the same faults."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import c_kernels, needs_extension
from fer2013.rows import PLAIN, TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge.kernels import fallback

pytestmark = pytest.mark.usefixtures("kernels")


RAW = PLAIN.encode()


def parse(module, text, final, layout, capacity):
    pixels = np.zeros((capacity, 2304), np.uint8)
    labels = np.zeros(capacity, np.int8)
    usages = np.zeros((capacity, 32), np.uint8)
    result = module.parse_rows(np.frombuffer(text, np.uint8), final, layout, pixels, labels, usages)
    rows = result[0]
    return result, pixels[:rows].tobytes(), labels[:rows].tolist(), usages[:rows].tolist()


edits = st.tuples(
    st.integers(0, len(RAW)) | st.integers(0, 12),
    st.integers(0, 4),
    st.binary(max_size=4) | st.text(' \t,"\r\n0123456789x', max_size=4).map(str.encode),
)


def damaged(changes, length):
    """Rows of the usual kind, cut off, with a few bytes replaced, inserted or removed."""
    text = bytearray(RAW[RAW.index(b"\n") + 1 :][:length])
    for start, size, new in changes:
        text[start : start + size] = new
    return bytes(text) or b"\n"


layouts = st.sampled_from(
    [
        (3, 0, 1, 2, 1 << 20),
        (3, -1, 1, -1, 1 << 20),
        (3, 0, 1, -1, 9000),
        (2, 0, 1, -1, 1 << 20),
        (1, -1, 0, -1, 9),
    ]
)


@needs_extension
@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(edits, max_size=3),
    length=st.just(len(RAW)) | st.integers(1, len(RAW)),
    final=st.booleans(),
    layout=layouts,
    capacity=st.integers(1, 4),
)
def test_c_and_numpy_parse_damaged_rows_alike(changes, length, final, layout, capacity):
    text = damaged(changes, length)
    assert parse(c_kernels, text, final, layout, capacity) == parse(fallback, text, final, layout, capacity)


@needs_extension
@pytest.mark.parametrize(
    "odd",
    [
        "256",
        "260",
        "299",
        "300",
        "999",
        "1000",
        "",
        "\t",
        " 7",
        "7\t",
        "-1",
        "7.",
        "x",
        '"',
        "\x00",
        "\xa0",
        "/",
        ":",
    ],
)
def test_c_and_numpy_find_an_odd_number_wherever_it_is(odd):
    """The vector kernels read blocks of 16 or 32 characters: an odd one goes through all their positions."""
    numbers = TEXTS[0].split()
    for index in range(40):
        row = " ".join([*numbers[:index], odd, *numbers[index + 1 :]])
        text = f"0,{row},Training\n".encode("latin-1")
        layout = (3, 0, 1, 2, 1 << 20)
        assert parse(c_kernels, text, True, layout, 1) == parse(fallback, text, True, layout, 1)


@needs_extension
@pytest.mark.parametrize("value", range(256))
def test_every_value_is_read_in_every_place_of_a_block(value):
    row = " ".join(str(value) if index % 5 else str(index % 256) for index in range(2304))
    result, pixels, _, _ = parse(c_kernels, f"{row}\n".encode(), True, (1, -1, 0, -1, 1 << 20), 1)
    assert result[0] == 1
    assert list(pixels) == [value if index % 5 else index % 256 for index in range(2304)]


@needs_extension
@settings(max_examples=300, deadline=None)
@given(
    text=st.text(' \t,"\r\n09x', min_size=1, max_size=60).map(str.encode)
    | st.binary(min_size=1, max_size=60),
    final=st.booleans(),
    columns=st.integers(1, 4),
)
def test_c_and_numpy_parse_any_text_alike(text, final, columns):
    layout = (columns, -1, columns - 1, 0 if columns > 1 else -1, 40)
    assert parse(c_kernels, text, final, layout, 2) == parse(fallback, text, final, layout, 2)
