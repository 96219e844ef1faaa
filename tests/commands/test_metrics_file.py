"""``fer-edge run --metrics``: figures in a file, while the run lasts."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client")
cv2 = pytest.importorskip("cv2")


from fer_edge.outputs.metrics import MetricsFile


@pytest.fixture
def last(monkeypatch):
    """What the file would hold at the end of a run."""
    texts = []
    close = MetricsFile.close

    def told_and_closed(self):
        self.write()
        texts.append(self._path.read_text())
        close(self)

    monkeypatch.setattr(MetricsFile, "close", told_and_closed)
    return texts


def test_a_run_keeps_its_figures_in_a_file(cli, film, tmp_path, last):
    path = tmp_path / "fer-edge.prom"
    path.write_text("# HELP fer_edge_frames_total What a run that was killed left behind.\n")
    code, _, err = cli("run", film, "--metrics", path, "--jsonl", tmp_path / "a.jsonl")
    assert code == 0, err
    (text,) = last
    assert f'fer_edge_frames_total{{camera="{film}"}} 25.0\n' in text
    assert f'fer_edge_inference_seconds_count{{camera="{film}"}} 25.0\n' in text
    assert 'fer_edge_output_lost_results_total{output="jsonl"} 0.0\n' in text
    assert 'backend="litert",model="edge"' in text or 'backend="onnx",model="edge"' in text
    assert not path.exists(), "what has ended has no figures"


def test_each_of_several_cameras_has_its_own_figures(cli, film, tmp_path, last):
    tables = "".join(f'[[camera]]\nname = "{name}"\nsource = "{film}"\n' for name in ("door", "till"))
    (tmp_path / "c.toml").write_text(tables)
    code, _, err = cli("run", "--config", tmp_path / "c.toml", "--metrics", tmp_path / "a.prom")
    assert code == 0, err
    for name in ("door", "till"):
        assert f'fer_edge_frames_total{{camera="{name}"}} 25.0\n' in last[0]
        assert f'fer_edge_camera_up{{camera="{name}"}} 0.0\n' in last[0], "it has ended"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.txt", "does not end in .prom"),
        ("missing/a.prom", "does not exist"),
        ("same.prom", "two outputs cannot be the same file"),
    ],
)
def test_a_bad_name_is_refused(cli, film, tmp_path, name, words):
    same = ("--jsonl", tmp_path / "same.prom") if name == "same.prom" else ()
    code, _, err = cli("run", film, "--metrics", tmp_path / name, *same)
    assert code == 2
    assert words in err


def test_without_its_package_the_run_says_what_to_install(cli, film, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "fer_edge.outputs.metrics", raising=False)
    code, _, err = cli("run", film, "--metrics", tmp_path / "a.prom", "--jsonl", tmp_path / "a.jsonl")
    assert code == 2
    assert "Prometheus needs prometheus-client: pip install 'fer-edge[page]'" in err
    assert not (tmp_path / "a.jsonl").exists()
