"""FER-2013 text to arrays, side by side with what people use: GB of text a second, one thread.

python benchmarks/parse.py [--rows 4000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import csv
import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

os.environ["POLARS_MAX_THREADS"] = "1"

import numpy as np
from timing import best_times, memcpy, print_machine

from fer_edge import kernels
from fer_edge.fer2013.reader import iter_fer2013, read_fer2013
from fer_edge.kernels import fallback

LAYOUT = (3, 0, 1, 2, 1 << 20)


def write_text(path: Path, rows: int) -> None:
    """Rows as in fer2013.csv, with its mean (129) and deviation (65) of pixels."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("emotion,pixels,Usage\n")
        for row in range(rows):
            pixels = rng.normal(129, 65, 2304).clip(0, 255).astype(np.uint8)
            file.write(f"{row % 7},{' '.join(map(str, pixels))},Training\n")


def kernel(module: ModuleType, text: bytes, rows: int) -> Callable[[], object]:
    """Parses ``text`` in windows of 256 kB into the same arrays."""
    data = np.frombuffer(text, dtype=np.uint8)
    data = data[text.index(b"\n") + 1 :]
    pixels = np.empty((rows, 2304), np.uint8)
    labels, usages = np.empty(rows, np.int8), np.empty((rows, 32), np.uint8)

    def parse() -> None:
        start = 0
        while start < data.size:
            window = data[start : start + (1 << 18)]
            final = start + window.size == data.size
            start += module.parse_rows(window, final, LAYOUT, pixels, labels, usages)[1]

    return parse


def csv_and_int(path: Path) -> object:
    with path.open(newline="") as file:
        return np.array([[int(n) for n in row["pixels"].split()] for row in csv.DictReader(file)], np.uint8)


def others(path: Path) -> dict[str, Callable[[], object]]:
    """What is installed of the usual ways."""
    found: dict[str, Callable[[], object]] = {"csv + int": lambda: csv_and_int(path)}
    try:
        pandas = importlib.import_module("pandas")
        found["pandas + np.array(s.split())"] = lambda: np.stack(
            [np.array(s.split(), dtype=np.uint8) for s in pandas.read_csv(path)["pixels"]]
        )
        found["pandas + list of int"] = lambda: np.array(
            [[int(n) for n in s.split()] for s in pandas.read_csv(path)["pixels"]], dtype=np.uint8
        )
    except ImportError:
        print("pandas is not installed")
    try:
        polars = importlib.import_module("polars")
        numbers = polars.col("pixels").str.split(" ").list.eval(polars.element().cast(polars.UInt8)).explode()
        found["polars"] = lambda: polars.read_csv(path).select(numbers).to_numpy().reshape(-1, 2304)
    except ImportError:
        print("polars is not installed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fer2013.csv"
        write_text(path, options.rows)
        text = path.read_bytes()
        ours: dict[str, Callable[[], object]] = {
            "read_fer2013": lambda: read_fer2013(path),
            "iter_fer2013": lambda: sum(map(len, iter_fer2013(path))),
            "kernel alone": kernel(kernels.implementation, text, options.rows),
            "memcpy of the text": memcpy(len(text)),
        }
        slow = {**others(path), "NumPy twin of the kernel": kernel(fallback, text, options.rows)}
        for name, read in others(path).items():
            if not np.array_equal(np.reshape(read(), (-1, 48, 48)), read_fer2013(path).pixels):
                raise SystemExit(f"{name} read something else")
        # Ours are over within one call of the others, and need more rounds to meet a quiet moment.
        times = best_times(ours, 10 * options.rounds) | best_times(slow, options.rounds)
        times |= {
            name: min(times[name], again) for name, again in best_times(ours, 10 * options.rounds).items()
        }
    print(f"{len(text) / 1e6:.1f} MB of text, {options.rows} rows\n")
    print(f"{'':32}{'GB/s':>8}{'read_fer2013 is':>18}")
    for name, seconds in sorted(times.items(), key=lambda item: item[1]):
        ratio = seconds / times["read_fer2013"]
        print(f"{name:32}{len(text) / seconds / 1e9:8.3f}{ratio:13.1f} x as fast"[:76])


if __name__ == "__main__":
    main()
