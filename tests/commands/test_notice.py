"""``fer-edge notice``, and what ``run`` says of privacy when it starts."""

from __future__ import annotations

import pytest

pytest.importorskip("cv2")

from sources.web import MJPEG, jpeg, multipart, serving

from fer_edge.notice.facts import FORBIDDEN


def test_without_a_file_it_is_text_of_the_defaults(cli):
    code, out, err = cli("notice")
    assert (code, err) == (0, "")
    assert out.startswith("Emotion recognition in use\n")
    assert "- Nothing.\n" in out and "Operator: ____" in out


def test_it_is_made_from_file_environment_and_flags(cli, tmp_path, monkeypatch):
    (tmp_path / "c.toml").write_text('camera = 0\nstore = "s.db"\nkeep = 30\n')
    monkeypatch.setenv("FER_EDGE_SAVE_VIDEO", "v.mkv")
    _, out, _ = cli("notice", "--config", tmp_path / "c.toml", "--", "--keep", "14")
    assert "after 14 days" in out and "Video recordings" in out
    _, out, _ = cli("notice", "--", "--config", tmp_path / "c.toml")
    assert "after 30 days" in " ".join(out.split())
    monkeypatch.setenv("FER_EDGE_CONFIG", str(tmp_path / "c.toml"))
    _, out, _ = cli("notice")
    assert "after 30 days" in " ".join(out.split())


def test_a_page_of_html_is_written_with_what_the_operator_says(cli, tmp_path):
    path = tmp_path / "notice.html"
    code, out, err = cli(
        *("notice", "--language", "de", "--language", "en", "--language", "de", "--out", path),
        *("--operator", "Blumen Meier\\nBonn", "--contact", "a@b.example", "--purpose", "Zählung"),
    )
    assert (code, out, err) == (0, f"{path}: written\n", "")
    page = path.read_text(encoding="utf-8")
    assert page.count("<article") == 2 and page.index('lang="de"') < page.index('lang="en"')
    assert "<dd>Blumen Meier<br>Bonn</dd>" in page
    code, _, err = cli("notice", "--out", path)
    assert code == 2 and "--force" in err
    assert cli("notice", "--out", path, "--force", "--language", "all")[0] == 0
    assert path.read_text(encoding="utf-8").count("<article") >= 7
    _, out, _ = cli("notice", "--out", "-", "--language", "fr")
    assert out.startswith("<!DOCTYPE html>")


def test_a_page_that_is_printed_is_told_and_not_among_html(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_edge.chromium.write_pdf", lambda page, path: path)
    path = tmp_path / "notice.pdf"
    assert cli("notice", "--pdf", path) == (0, f"{path}: printed\n", "")
    code, out, err = cli("notice", "--out", "-", "--pdf", path)
    assert (code, err) == (0, f"{path}: printed\n")
    assert out.startswith("<!DOCTYPE html>") and out.endswith("</html>\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--language", "xx"], 2, "invalid choice: 'xx'"),
        (["--operator", ""], 2, "must not be empty"),
        (["--operator", "a\x1b[31m"], 2, "is no text that can be printed"),
        (["--out", "a.html", "--pdf", "a.html"], 2, "give two names"),
        (["--out", "missing/a.html"], 2, "does not exist"),
        (["--config", "missing.toml"], 78, "missing.toml"),
        (["--", "--keep", "-1"], 2, "--keep"),
        (["--camera", "0"], 2, "unrecognized arguments: --camera; options of fer-edge run come after --\n"),
        (["--no-mirror"], 2, "options of fer-edge run come after --"),
        (["--langauge", "de"], 2, "did you mean --language?"),
        (["--camra", "0"], 2, "options of fer-edge run come after --"),
        (["--zzz"], 2, "options of fer-edge run come after --"),
    ],
)
def test_what_makes_no_sense_is_refused(cli, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    got, _, err = cli("notice", *arguments)
    assert got == code
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_a_camera_says_what_leaves_and_what_is_forbidden(cli, tmp_path):
    with serving() as running:
        running.answers["/video"] = lambda _: (MJPEG, None, multipart([jpeg(20)] * 20, 0.02))
        code, out, err = cli("run", running.url + "/video", "--frames", 3, "--jsonl", "-")
    assert code == 0
    assert "info: leaves this device: nothing; JSON lines go to standard output" in err
    assert err.count(FORBIDDEN) == 1 and f"warning: {FORBIDDEN}" in err
    assert "leaves this device" not in out, "the lines are for programs"
    assert "Article 5(1)(f)" in FORBIDDEN and "fer-edge notice" in FORBIDDEN
