"""Plots: confusion matrix and learning curve, as PNG through matplotlib."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError
from ..files import atomic_path
from ..labels import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Confusion:
    """Counts, int (7, 7) with true classes in rows, and what the picture says of them."""

    counts: NDArray[np.int64]
    title: str
    truth: str


def save_confusion(path: str | os.PathLike[str], title: str, matrices: Sequence[Confusion]) -> None:
    """Write confusion matrices side by side as a PNG."""
    figure = _figure(6.2 * len(matrices), 5.8)
    # The names of files may have dollar signs, between which matplotlib sees formulas.
    figure.suptitle(title, fontsize=11, parse_math=False)
    ticks = range(len(EMOTIONS))
    for index, matrix in enumerate(matrices, start=1):
        axes = figure.add_subplot(1, len(matrices), index)
        shares = matrix.counts / np.maximum(matrix.counts.sum(1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix.counts):
            shade = "white" if shares[row, column] > 0.5 else "black"
            text = f"{shares[row, column]:.0%}\n{count}"
            axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=8)
        axes.set_xticks(ticks, EMOTIONS, rotation=30, ha="right")
        axes.set_yticks(ticks, EMOTIONS)
        axes.set_xlabel("answer")
        axes.set_ylabel(matrix.truth)
        axes.set_title(matrix.title, fontsize=10)
    figure.colorbar(image, ax=figure.axes, label="share of the row", shrink=0.8)
    _save(figure, path)


def save_learning_curve(path: str | os.PathLike[str], history: Sequence[dict[str, float]]) -> None:
    """Write loss and accuracy over epochs as a PNG; rows as ``fer_edge.train.loop.fit`` returns them."""
    figure = _figure(9.0, 3.8)
    epochs = [row["epoch"] for row in history]
    people = all("val_people" in row for row in history)
    for index, (quantity, scale, label) in enumerate(
        (("loss", 1.0, "cross-entropy"), ("accuracy", 100.0, "accuracy, %")), start=1
    ):
        axes = figure.add_subplot(1, 2, index)
        for split, name in (("train", "training, augmented"), ("val", "validation, averaged weights")):
            axes.plot(epochs, [scale * row[f"{split}_{quantity}"] for row in history], label=name)
        if quantity == "accuracy" and people:
            agreement = [scale * row["val_people"] for row in history]
            axes.plot(epochs, agreement, label="validation, agreement with people")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    # As best.pt is chosen: of several, the one with the least loss.
    chosen = "val_people" if people else "val_accuracy"
    name = "agreement with people" if people else "validation accuracy"
    best = max(history, key=lambda row: (row[chosen], -row["val_loss"]))
    figure.suptitle(f"best {name} {best[chosen]:.2%} after epoch {best['epoch']:.0f}")
    _save(figure, path)


def require_matplotlib(extra: str = "plots") -> None:
    """Raise MissingExtraError, naming the extra to install, where the plots could not be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("Drawing a plot", "matplotlib", extra)


def _figure(width: float, height: float) -> Figure:
    """A figure of ``width`` x ``height`` inches that needs no display and no global state."""
    require_matplotlib()
    _load_fonts()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _load_fonts() -> None:
    """Import matplotlib without the folders and the font list that it would leave in the home folder.

    Listing the fonts again takes a tenth of a second. Where ``MPLCONFIGDIR`` names a folder, or the
    program has imported matplotlib already, that stays as it is.
    """
    if "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            importlib.import_module("matplotlib.backends.backend_agg")
        finally:
            del os.environ["MPLCONFIGDIR"]


def _save(figure: Figure, path: str | os.PathLike[str]) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
