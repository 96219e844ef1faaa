"""Secret files that systemd hands over to a service, whose user may not read the files themselves."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def credential_name(file: Path) -> str:
    """The name under which systemd hands the content of ``file`` to a service (LoadCredential=)."""
    return f"password-{hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:16]}"


def handed_over(file: Path) -> Path:
    """Where to read the content of ``file``: what systemd handed over for it, else ``file`` itself."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder, credential_name(file)) if folder else file
    return credential if credential.is_file() else file
