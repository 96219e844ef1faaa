"""The corpus run finds what it looks for, and made-up damage finds nothing in this package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("skimage", reason="scikit-image is not installed")

TOOLS = Path(__file__).resolve().parents[1] / "tools"
if not (TOOLS / "corpus.py").exists():
    pytest.skip("no tools/ beside the tests", allow_module_level=True)
sys.path.insert(0, str(TOOLS))
corpus = pytest.importorskip("corpus")
mutated = pytest.importorskip("mutated")


@pytest.fixture(scope="module")
def seeds():
    return mutated.seeds()


def ended(code=0, out="", err="", **how):
    told = {"signal": 0, "hung": False, "seconds": 0.1, "peak_mb": 60, **how}
    return corpus.Ended(code, out=out.encode(), err=err.encode(), **told)


def records(count, **summary):
    frames = [json.dumps({"type": "frame", "faces": []})] * count
    return "\n".join([*frames, json.dumps({"type": "end", "summary": summary})])


@pytest.mark.parametrize(
    ("command", "how", "fault"),
    [
        ("run", ended(0, records(9)), ""),
        ("run", ended(0, records(8, missing=1)), ""),
        ("run", ended(0, records(8, skipped=1)), ""),
        ("run", ended(0, records(8, missing=0)), "missing"),
        ("run", ended(1, records(5, missing=2), "fer-edge run: film: more than a tenth"), "missing"),
        ("run", ended(0, records(1), "film: also holds a film behind its end"), ""),
        ("run", ended(2, records(0), "fer-edge run: film: damaged"), ""),
        ("run", ended(2, records(0), "fer-edge run: something is wrong"), "silent"),
        ("run", ended(0, records(0)), "silent"),
        ("run", ended(None, signal=11), "crash"),
        ("run", ended(None, signal=9, hung=True), "hang"),
        ("run", ended(1, "", "film\nTraceback (most recent call last):"), "traceback"),
        ("run", ended(1, "", "film: KeyError: 3 (FER_EDGE_DEBUG=1 shows where)"), "traceback"),
        ("run", ended(0, records(9) + "\nGarbage"), "traceback"),
        ("run", ended(1, "", "fer-edge run: not enough memory: end other"), "memory"),
        ("predict", ended(0, records(1), "film: a film of 9 frames; the first is read"), ""),
        ("predict", ended(0, records(1)), "missing"),
    ],
)
def test_each_fault_is_told_from_what_is_fine(command, how, fault):
    assert corpus.judge(command, "folder/film", how, expected=9).fault == fault


def reads_gif():
    """Whether this OpenCV has a decoder for GIF, as those from 4.12 on."""
    import cv2

    return re.search(r"GIF:\s+YES", cv2.getBuildInformation()) is not None


def test_the_other_count_finds_every_frame_of_a_whole_file(seeds, tmp_path):
    single = {"jpg", "png", "bmp", "jp2"}
    pages = {"tif", "apng.png"}
    assert len(seeds) >= 10
    for name, content in seeds.items():
        path = tmp_path / f"seed.{name}"
        path.write_bytes(content)
        if name == "gif" and not reads_gif():
            continue
        wanted = 1 if name in single else mutated.PAGES if name in pages else mutated.FRAMES
        assert (name, corpus.count_pictures(path)) == (name, wanted)


def test_a_made_corpus_is_the_same_for_the_same_seed_and_has_every_kind_of_damage(seeds, tmp_path):
    count = len(seeds) * len(mutated.CHANGES)
    for folder, seed in (("one", 1), ("again", 1), ("other", 2)):
        mutated.make(tmp_path / folder, count, seed, seeds)

    def contents(folder):
        return {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}

    assert len(contents("one")) == count
    assert contents("one") == contents("again") != contents("other")
    for change in mutated.CHANGES:
        assert sum(f"-{change}" in name for name in contents("one")) == len(seeds)


def tried(folder, *before):
    """Run the tool in a process of its own, after the lines ``before``; its last two lines and its log."""
    lines = [f"import sys; sys.path.insert(0, {str(TOOLS)!r})", "import corpus, os, time", *before]
    lines += ["try: code = corpus.main()", "except corpus.ChildEndedError as ended: code = ended.args[0]"]
    program = "\n".join([*lines, "sys.exit(code)"])
    words = [sys.executable, "-c", program, str(folder), "--seconds", "30"]
    process = subprocess.run(words, capture_output=True, text=True, timeout=1200)
    assert process.stderr == ""
    log = [json.loads(line) for line in folder.with_name(folder.name + ".jsonl").read_text().splitlines()]
    return process.returncode, process.stdout.splitlines(), log


def test_a_process_that_crashes_hangs_or_says_nothing_is_listed(seeds, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("crash", "hang", "silent", "fine"):
        (folder / name).write_bytes(seeds["jpg"])
    replaced = (
        "fine = corpus.command",
        "def command(name, path):",
        "    if path.name == 'crash': os.abort()",
        "    if path.name == 'hang': time.sleep(999)",
        "    return 1 if path.name == 'silent' else fine(name, path)",
        "corpus.command = command",
        "sys.argv += ['--seconds', '5']",
    )
    code, out, log = tried(folder, *replaced)
    assert code == 1
    assert [(entry["file"], entry["fault"]) for entry in log if entry["command"] == "run"] == [
        ("crash", "crash"),
        ("fine", ""),
        ("hang", "hang"),
        ("silent", "silent"),
    ]
    assert out[-1] == "predict: 4 files; crash 1, hang 1, traceback 0, memory 0, silent 1, missing 0"
    # A second call tries again what had a fault, and nothing else.
    code, out, log = tried(folder)
    assert code == 0
    assert [entry["file"] for entry in log[::2]] == ["fine", "crash", "hang", "silent"]


@pytest.mark.heavy
def test_a_damaged_file_of_every_kind_is_read_or_refused_in_words(seeds, tmp_path):
    folder = tmp_path / "files"
    some = {name: seeds[name] for name in ("png", "tif", "gif", "mjpeg", "mkv", "ts")}
    mutated.make(folder, len(some) * len(mutated.CHANGES), seed=7, wholes=some)
    code, out, _ = tried(folder)
    assert (code, out[:-2]) == (0, [])
