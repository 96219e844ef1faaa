"""Levels of messages where the journal reads them, and nothing else anywhere else."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from fer_edge.service.journal import reads, with_level


@pytest.mark.parametrize(
    ("level", "number"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_levels_are_those_of_syslog(level, number):
    assert with_level("text", level) == f"<{number}>text"


def test_each_line_has_its_level():
    assert with_level("one\ntwo", logging.ERROR) == "<3>one\n<3>two"


def journal_of(file) -> str:
    status = os.fstat(file.fileno())
    return f"{status.st_dev}:{status.st_ino}"


def test_the_journal_is_known_by_device_and_inode(tmp_path):
    with (tmp_path / "a").open("w") as first, (tmp_path / "b").open("w") as second:
        environment = {"JOURNAL_STREAM": journal_of(first)}
        assert reads(first, environment)
        assert not reads(second, environment)
        assert not reads(first, {})
    assert not reads(first, environment)


@pytest.mark.parametrize("journal", [True, False])
def test_errors_of_commands_have_a_level_in_the_journal_alone(tmp_path, journal):
    with (tmp_path / "log").open("w+") as log:
        environment = {**os.environ, "JOURNAL_STREAM": journal_of(log) if journal else "1:2"}
        command = [sys.executable, "-m", "fer_edge", "run", "--camera", "none"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        log.seek(0)
        (line,) = log.read().splitlines()
    assert done.returncode == 2
    assert line.startswith("<3>fer-edge run: " if journal else "fer-edge run: ")


def test_faces_are_no_matter_for_the_journal(tmp_path):
    pytest.importorskip("skimage", reason="the demo camera needs scikit-image")
    with (tmp_path / "log").open("w+") as log:
        environment = {**os.environ, "JOURNAL_STREAM": journal_of(log)}
        command = [sys.executable, "-m", "fer_edge", "run", "--camera", "demo", "--frames", "5"]
        done = subprocess.run(command, stdout=log, stderr=log, env=environment)
        log.seek(0)
        (line,) = log.read().splitlines()
    assert done.returncode == 0
    assert line.startswith("5 frames in ")
