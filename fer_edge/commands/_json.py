"""Figures as JSON, the same way from every command."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(value: Any) -> str:
    """Indented JSON; what is not a number becomes null."""

    def clean(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: clean(part) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return [clean(part) for part in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return json.dumps(clean(value), indent=2, allow_nan=False)
