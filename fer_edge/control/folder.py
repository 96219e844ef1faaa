"""The folder in which a run keeps what has to outlast it: a pause, masks that were drawn, a store."""

from __future__ import annotations

import functools
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ..errors import DataError

_MODE = 0o700

_log = logging.getLogger(__name__)


def state_path(given: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the state folder lies, whether or not it exists.

    ``given``: by ``--state-folder``. Else that which systemd made (``STATE_DIRECTORY``), else ``fer-edge``
    below ``XDG_STATE_HOME`` or ``~/.local/state``. Raises :class:`~fer_edge.errors.DataError` where nobody
    has a home.
    """
    if given:
        return Path(given).absolute()
    if made := environment.get("STATE_DIRECTORY"):
        # systemd.exec(5): several are separated by colons.
        return Path(made.split(":")[0])
    home = environment.get("XDG_STATE_HOME", "")
    # The base directory specification has relative ones ignored.
    if Path(home).is_absolute():
        return Path(home) / "fer-edge"
    try:
        return Path.home() / ".local/state/fer-edge"
    except RuntimeError as error:
        raise DataError("no home folder to keep state in; give --state-folder DIR") from error


@functools.cache
def _warn_of_writers(path: Path) -> None:
    """Warn once of a folder in which every user may lay, change and delete what a run keeps."""
    if path.stat().st_mode & stat.S_IWOTH:
        _log.warning("%s: every user of this machine can change what is kept here; chmod o-w %s", path, path)


def state_folder(given: str | None = None) -> Path:
    """The folder of :func:`state_path`, made where it is missing, for this user only.

    Raises :class:`~fer_edge.errors.DataError` where that cannot be done.
    """
    path = state_path(given)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=_MODE, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be made to keep state in: {error.strerror}; give another --state-folder"
        ) from error
    _warn_of_writers(path)
    if not os.access(path, os.W_OK):
        raise DataError(f"{path}: no permission to write; give another --state-folder")
    return path
