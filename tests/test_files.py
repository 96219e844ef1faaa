"""Outputs that appear whole or not at all, and inputs that are not lost."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fer_edge.errors import DataError
from fer_edge.files import atomic_path, check_target, write_text


def test_content_appears_under_its_name_with_ordinary_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "note.txt", "grün")
    finally:
        os.umask(before)
    assert (tmp_path / "note.txt").read_text(encoding="utf-8") == "grün"
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == 0o644
    assert len(list(tmp_path.iterdir())) == 1


def test_the_umask_stays_as_it_is(tmp_path, monkeypatch):
    """It is the whole process's: files that other threads create meanwhile would have other permissions."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", lambda mask: pytest.fail(f"umask changed to {mask:o}"))
            write_text(tmp_path / "note.txt", "new")
            write_text(tmp_path / "note.txt", "newer")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == 0o640


def test_a_failure_keeps_the_old_content_and_leaves_nothing(tmp_path):
    target = tmp_path / "data.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="midway"), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("midway")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_told_with_the_files_name(tmp_path):
    """A process may write no more than so many bytes into a file: what a full disk does, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            write_text(tmp_path / "long.csv", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.filename == str(tmp_path / "long.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where no file can be made")
def test_no_error_names_a_file_that_nobody_gave(tmp_path, monkeypatch):
    # Root may write everywhere; only a file system refuses it.
    monkeypatch.setattr(os, "access", lambda *_: True)
    with pytest.raises(OSError, match=r"'/proc/x\.txt'") as caught, atomic_path("/proc/x.txt"):
        pass
    assert "part-" not in str(caught.value)
    target = tmp_path / "new.txt"
    with pytest.raises(OSError) as caught, atomic_path(target) as temporary:
        temporary.unlink()
    assert caught.value.filename == str(target)
    assert "part-" not in str(caught.value)


def test_the_temporary_name_keeps_the_suffix_and_fits_where_the_target_does(tmp_path):
    long_name = "n" * 250 + ".mp4"
    with atomic_path(tmp_path / long_name) as temporary:
        assert temporary.suffix == ".mp4"
    assert (tmp_path / long_name).exists()


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    write_text(tmp_path / "link.csv", "new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


def test_a_device_is_written_to_and_stays_a_device(tmp_path):
    with atomic_path("/dev/null") as temporary:
        temporary.write_text("gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


def test_a_pipe_by_the_name_of_stdout_is_written_to():
    """Its resolved name, /proc/N/fd/pipe:[M], does not exist."""
    program = "from fer_edge.files import check_target, write_text; check_target('/dev/stdout'); "
    done = subprocess.run(
        [sys.executable, "-c", program + "write_text('/dev/stdout', 'whole')"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("whole", "")


def test_targets_that_cannot_be_are_refused_by_name(tmp_path):
    (tmp_path / "input.csv").write_text("x")
    with pytest.raises(DataError, match="is a folder"):
        check_target(tmp_path)
    with pytest.raises(DataError, match=r"none.*does not exist"):
        check_target(tmp_path / "none" / "out.csv")
    with pytest.raises(DataError, match="is also the input"):
        check_target(tmp_path / "input.csv", [tmp_path / "." / "input.csv"])
    check_target(tmp_path / "input.csv", [tmp_path / "missing.csv"], force=True)


def test_an_input_that_cannot_be_looked_at_refuses_no_target(tmp_path, forbid):
    target, hidden = tmp_path / "out.csv", tmp_path / "hidden"
    target.write_text("old")
    hidden.mkdir()
    (tmp_path / "link").symlink_to(hidden / "a.png")
    forbid(hidden)
    inputs = [tmp_path / "link", tmp_path / ("x" * 300), "a\0b"]
    check_target(target, inputs, force=True)
    with pytest.raises(DataError, match="is also the input"):
        check_target(target, [*inputs, target], force=True)


def test_a_file_with_content_is_kept_unless_forced(tmp_path):
    taken, empty = tmp_path / "taken.csv", tmp_path / "empty.csv"
    taken.write_text("mine")
    empty.touch()
    with pytest.raises(DataError, match=r"taken\.csv: exists already; --force overwrites it"):
        check_target(taken)
    check_target(taken, force=True)
    check_target(empty)
    check_target("/dev/null")
    with pytest.raises(DataError, match="is also the input"):
        check_target(taken, [taken], force=True)
