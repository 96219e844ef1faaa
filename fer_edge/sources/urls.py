"""URLs without their secrets, for logs, records and messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def without_password(url: str) -> str:
    """Return ``url`` without user and password; what is no URL stays as it is.

    Everything up to the last "@" goes, because passwords with special characters are often not quoted.
    """
    return re.sub(r"^([a-z][a-z0-9+]*://).*@", r"\1", url, flags=re.IGNORECASE | re.DOTALL)
