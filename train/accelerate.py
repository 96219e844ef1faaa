"""What makes a GPU train faster: settings, and the compiled network where the compiler works."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from .model import EmotionNet


def prepare_device(device: torch.device) -> None:
    """Let a GPU choose fast convolutions and reduced float32 products; nothing on a CPU."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def autocast(device: torch.device, bfloat16: bool) -> contextlib.AbstractContextManager[object]:
    """The context in which activations are computed in bfloat16, where that is wanted."""
    return torch.autocast(device.type, torch.bfloat16) if bfloat16 else contextlib.nullcontext()


def compiled(
    net: EmotionNet,
    inputs: Tensor,
    *,
    bfloat16: bool = False,
    backend: str | Callable[..., object] = "inductor",
) -> nn.Module:
    """``net`` run through ``torch.compile``, by one step on ``inputs`` (n, 1, 48, 48) that changes nothing.

    Where the compiler does not work (it needs Triton and a C compiler), ``net`` itself and a message.
    """
    before = {name: value.clone() for name, value in net.state_dict().items()}
    module: nn.Module = net
    net.train()
    try:
        module = cast(nn.Module, torch.compile(net, backend=backend))
        with autocast(inputs.device, bfloat16):
            output = module(inputs)
        torch.cat([head.float() for head in output if head is not None], 1).sum().backward()
    except Exception as error:  # the compiler's parts raise whatever they like
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"torch.compile does not work here ({reason:.200}); training goes on without", file=sys.stderr)
        module = net
    net.zero_grad(set_to_none=True)
    net.load_state_dict(before)
    return module
