"""Training checkpoints: plain tensors and numbers, written in one step, loaded without pickled code."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

import torch

from fer_edge.errors import FerEdgeError
from fer_edge.files import atomic_path

from .architectures import Architecture
from .model import EmotionNet
from .renamed import current_state

FORMAT = "fer-edge checkpoint 1"


class CheckpointError(FerEdgeError, ValueError):
    """A checkpoint cannot be read or does not fit the request."""


_PIECE = b"fer-edge piece 1\n"
_NUMBERED = re.compile(r"(?P<base>.+)\.(?P<number>\d+)of(?P<count>\d+)")
_LEAST_PIECE = 1000


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) under ``path``; raises OSError."""
    _write(Path(path), _content(state))


def save_weights(path: str | os.PathLike[str], state: dict[str, Any], piece_bytes: int) -> list[Path]:
    """Write what is needed to use the network of ``state``, not to resume its run; returns the files.

    The averaged weights become float16, but for tensors that exceed its range. Where that makes more than
    ``piece_bytes``, it is written in pieces ``PATH.1of3`` … of at most that size, each with a hash of the
    whole; :func:`load` takes the name of any of them, or PATH. Whatever was written under PATH before, in
    pieces of another number or in one, is removed. Raises OSError, and ValueError for less than 1000 bytes a
    piece.
    """
    if piece_bytes < _LEAST_PIECE:
        raise ValueError(f"pieces of {piece_bytes} bytes; want at least {_LEAST_PIECE}")
    left_out = ("format", "identity", "net", "averaged", "optimizer", "ema")
    kept = {name: value for name, value in state.items() if name not in left_out}
    content = _content({**kept, "ema": {name: _half(value) for name, value in state["ema"].items()}})
    path = Path(path)
    former = [path, *_pieces(path)]
    if len(content) <= piece_bytes:
        files = [path]
        _write(path, content)
    else:
        header = _PIECE + hashlib.sha256(content).digest()
        size = piece_bytes - len(header)
        count = -(-len(content) // size)
        files = [path.with_name(f"{path.name}.{number}of{count}") for number in range(1, count + 1)]
        for number, file in enumerate(files):
            _write(file, header + content[number * size : (number + 1) * size])
    for file in set(former) - set(files):
        file.unlink(missing_ok=True)
    return files


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what :func:`save` or :func:`save_weights` wrote, under current names.

    Raises CheckpointError for anything else, and where a piece is missing or two checkpoints' pieces have
    the same name but for their number.
    """
    content = _joined(Path(path))
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a fer-edge checkpoint (expected format {FORMAT!r})")
    return current_state(state, path)


def _half(value: torch.Tensor) -> torch.Tensor:
    half = value.half() if value.dtype == torch.float32 else value
    return half if bool(half.isfinite().all()) else value


def _content(state: dict[str, Any]) -> bytes:
    # By way of memory, because torch.save hides why a disk refuses.
    content = io.BytesIO()
    torch.save({"format": FORMAT, **state}, content)
    return content.getvalue()


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _pieces(path: Path) -> list[Path]:
    """The pieces beside ``path`` that are named as its own, of whatever number."""
    beside = path.parent.glob(f"{glob.escape(path.name)}.*of*")
    named = ((file, _NUMBERED.fullmatch(file.name)) for file in sorted(beside))
    return [file for file, match in named if match is not None and match["base"] == path.name]


def _joined(path: Path) -> bytes:
    """The content of a checkpoint, of its pieces where ``path`` is the name of one, or of all."""
    if not path.is_file():
        found = _pieces(path)
        if not found:
            raise CheckpointError(f"{path}: no such checkpoint; fer-edge train writes best.pt and last.pt")
        counts = sorted({file.name.rpartition("of")[2] for file in found}, key=int)
        if len(counts) > 1:
            raise CheckpointError(
                f"{path}: there are pieces of it in {' and in '.join(counts)}; name a piece of those wanted"
            )
        path = found[0]
    content = path.read_bytes()
    numbered = _NUMBERED.fullmatch(path.name)
    if not content.startswith(_PIECE) or numbered is None:
        return content
    base, count = path.with_name(numbered["base"]), int(numbered["count"])
    names = [base.with_name(f"{base.name}.{number}of{count}") for number in range(1, count + 1)]
    missing = [name.name for name in names if not name.is_file()]
    if missing:
        raise CheckpointError(f"{base}: in {count} pieces, of which {', '.join(missing)} is not there")
    header = len(_PIECE) + hashlib.sha256().digest_size
    pieces = [name.read_bytes() for name in names]
    whole = b"".join(piece[header:] for piece in pieces)
    digest = hashlib.sha256(whole).digest()
    for name, piece in zip(names, pieces, strict=True):
        if piece[:header] != content[:header]:
            raise CheckpointError(f"{name}: not a piece of the same checkpoint as {path.name}")
    if digest != content[len(_PIECE) : header]:
        raise CheckpointError(f"{base}: its pieces do not add up to what was written; copy them again")
    return whole


def load_net(path: str | os.PathLike[str]) -> tuple[EmotionNet, dict[str, Any]]:
    """The averaged network of a checkpoint in evaluation mode, and the whole checkpoint."""
    state = load(path)
    try:
        architecture = Architecture.from_dict(state["architecture"])
        net = EmotionNet(architecture, people="people.weight" in state["ema"])
        net.load_state_dict(state["ema"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: damaged, or of another version of fer-edge ({error!r:.200})"
        ) from error
    if not all(bool(value.isfinite().all()) for value in net.state_dict().values()):
        raise CheckpointError(f"{path}: holds weights that are not finite numbers")
    return net.eval(), state
