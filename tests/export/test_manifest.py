"""Writing the manifest: it never lists files that are not there or are others."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytestmark = pytest.mark.toolchain

import fer_edge
from fer_edge.export import manifest


def test_publishing_never_lists_what_does_not_match(tmp_path, monkeypatch):
    """A reader looks between all steps of an exchange of two files."""
    folder, staging = tmp_path / "models", tmp_path / "staging"
    folder.mkdir(), staging.mkdir()
    seen = []

    def look(*arguments):
        listed = manifest.existing_manifest(folder)["models"].get("m", {}).get("files", {})
        seen.append({name: (folder / name).read_text() == text for name, text in listed.items()})

    def entry(text):
        for name in ("m-a", "m-b"):
            (staging / name).write_text(text)
        return {"files": {"m-a": text, "m-b": text}}

    manifest.publish(folder, staging, "m", entry("old"), force=False)
    original = manifest.write_text
    monkeypatch.setattr(manifest, "write_text", lambda *a: (look(), original(*a), look()))
    manifest.publish(folder, staging, "m", entry("new"), force=True)
    assert seen[0] == seen[-1] == {"m-a": True, "m-b": True}
    assert {} in seen
    assert all(all(matches.values()) for matches in seen)
    with pytest.raises(fer_edge.ModelError, match="already holds"):
        manifest.publish(folder, staging, "m", entry("third"), force=False)
