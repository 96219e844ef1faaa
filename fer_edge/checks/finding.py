"""What doctor finds: one line of its report each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report: ``ok``, ``note`` (works, could be better) or ``fault``.

    ``remedy``: the command that mends it, or what else does; empty where ``detail`` says so, or nothing is
    to be mended.
    """

    state: State
    subject: str
    detail: str
    remedy: str = ""
