"""Output that libraries write past Python."""

from __future__ import annotations

import os
import sys

import pytest

from fer_edge.native_output import hold_back


def test_only_unwanted_lines_are_dropped(capfd):
    print("before", file=sys.stderr)
    with hold_back(lambda line: line.startswith(b"INFO"), descriptors=(2,)):
        os.write(2, b"INFO: chatter\nwarning: worth reading\n")
        os.write(1, b"stdout goes on\n")
    os.write(2, b"after\n")
    captured = capfd.readouterr()
    assert captured.err == "before\nwarning: worth reading\nafter\n"
    assert captured.out == "stdout goes on\n"


def test_everything_is_shown_when_the_block_fails(capfd):
    with pytest.raises(RuntimeError, match="broken"), hold_back(lambda line: True):
        os.write(1, b"what happened\n")
        raise RuntimeError("broken")
    os.write(1, b"again\n")
    captured = capfd.readouterr()
    assert captured.err == "what happened\n"
    assert captured.out == "again\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_lines_that_cannot_be_shown_fail_nothing():
    kept = os.dup(2)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 2)
    try:
        with hold_back(lambda line: False, descriptors=(2,)):
            os.write(2, b"chatter\n")
    finally:
        os.dup2(kept, 2)
        os.close(full)
        os.close(kept)
