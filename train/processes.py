"""The processes that train together: one, or as many as ``torchrun`` started."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process's number among all; the first one writes files and talks."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def gather_shares(self, share: Tensor, total: int) -> Tensor:
        """Rows (total, k) of which each process brings every ``count``-th, starting with its number."""
        if self.count == 1:
            return share
        # All shares have to have one length, so short ones are filled up.
        longest = -(-total // self.count)
        padded = share.new_zeros(longest, *share.shape[1:])
        padded[: len(share)] = share
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(parts, padded)
        return torch.stack(parts, 1).flatten(0, 1)[:total]


def join(device: str = "cpu") -> Processes:
    """Join the group that ``torchrun`` describes in the environment; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size())
