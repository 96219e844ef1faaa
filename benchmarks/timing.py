"""What the benchmarks share: taking turns, memory speed, tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from fer_edge.machine import condition, describe


def best_times(subjects: Mapping[str, Callable[[], object]], rounds: int, calls: int = 1) -> dict[str, float]:
    """Seconds a call, the best of ``rounds`` in which all take turns: noise hits all alike."""
    best = dict.fromkeys(subjects, float("inf"))
    for _ in range(rounds):
        for name, subject in subjects.items():
            start = time.perf_counter()
            for _ in range(calls):
                subject()
            best[name] = min(best[name], (time.perf_counter() - start) / calls)
    return best


def memcpy(size: int) -> Callable[[], object]:
    """Copies ``size`` bytes."""
    source = np.ones(size, dtype=np.uint8)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)


def print_machine() -> None:
    machine = describe()
    print(f"{machine.cpu}, {machine.cores} cores, {machine.architecture}; load {condition().load:.1f}")
