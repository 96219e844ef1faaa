"""Distributed training: one process, or as many as ``torchrun`` started; the device of each."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from fer_edge.errors import DataError


@dataclass(frozen=True)
class World:
    """This process's ``rank`` among all ``size`` of them; the first one writes files and reports."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def gather_shares(self, share: Tensor, total: int) -> Tensor:
        """Rows (total, k) of which each process brings every ``size``-th, starting with its rank."""
        if self.size == 1:
            return share
        # All shares have to have one length, so short ones are filled up.
        longest = -(-total // self.size)
        padded = share.new_zeros(longest, *share.shape[1:])
        padded[: len(share)] = share
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.stack(parts, 1).flatten(0, 1)[:total]


def join_world(device: str = "cpu") -> World:
    """Join the processes that ``torchrun`` describes in the environment; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return World()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return World(dist.get_rank(), dist.get_world_size())


def choose_device(name: str) -> str:
    """The device named ``cpu``, ``cuda`` or ``cuda:N``; under ``torchrun`` ``cuda`` is the process's own GPU.

    Raises DataError for any other name, and for a GPU that is not there.
    """
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if not found:
        raise DataError(f"--device {name!r}: use cpu, cuda or cuda:N")
    if name != "cpu" and not torch.cuda.is_available():
        raise DataError(f"--device {name}: this PyTorch sees no GPU")
    if found[1] and int(found[1]) >= torch.cuda.device_count():
        raise DataError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name
