"""Puts units where systemd finds them, starts them, and takes them away again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, ServiceError
from ..files import write_text
from ..sources.urls import with_urls_masked
from .unit import MARK, OLDEST_SYSTEMD


@dataclass(frozen=True)
class Manager:
    """A systemd: the machine's, a user's, or that of a system in a folder, which does not run."""

    folder: Path
    """Where its administrator's units lie."""
    options: Sequence[str] = ()
    """By which ``systemctl`` addresses it."""
    runs: bool = True
    """Whether units can be started."""

    def path(self, name: str) -> Path:
        """The file of the unit ``name``."""
        return self.folder / f"{name}.service"


def system_manager(root: Path | None = None) -> Manager:
    """The machine's own, or that of the system that lies in ``root``."""
    if root is None:
        return Manager(Path("/etc/systemd/system"))
    return Manager(root / "etc/systemd/system", (f"--root={root}",), runs=False)


def user_manager() -> Manager:
    """That of the user who asks."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Manager(Path(folder) / "systemd/user", ("--user",))


def install(manager: Manager, name: str, text: str) -> None:
    """Write the unit, enable it, and start it, or start it anew.

    Raises :class:`~fer_edge.errors.DataError` where the file is another one's or cannot be written,
    :class:`~fer_edge.errors.ServiceError` where systemd refuses, as for a service that fails at once.
    """
    path = manager.path(name)
    if path.exists() and not _is_ours(path):
        raise DataError(f"{path}: was not written by fer-edge service; choose another --name")
    _program()
    path.parent.mkdir(parents=True, exist_ok=True)
    # A command line with a password is for root alone, and others' eyes are kept from it from the start.
    secret = with_urls_masked(text) != text
    umask = os.umask(0o077 if secret else 0o022)
    try:
        write_text(path, text)
    finally:
        os.umask(umask)
    if manager.runs:
        _systemctl(manager, "daemon-reload")
    _systemctl(manager, "enable", path.name)
    if manager.runs:
        _systemctl(manager, "restart", path.name)


def remove(manager: Manager, name: str) -> None:
    """Stop and disable the unit and delete its file; what the service wrote stays.

    Raises :class:`~fer_edge.errors.DataError` where there is none of ours,
    :class:`~fer_edge.errors.ServiceError` where systemd refuses.
    """
    path = manager.path(name)
    if not path.exists():
        raise DataError(f"{path}: there is no such service; --name chooses another one")
    if not _is_ours(path):
        raise DataError(f"{path}: was not written by fer-edge service; remove it by hand")
    _systemctl(manager, "disable", *(["--now"] if manager.runs else []), path.name)
    path.unlink()
    if manager.runs:
        _systemctl(manager, "daemon-reload")


def systemd_version() -> int:
    """The version of this machine's systemd; without one, that of the oldest that units are made for."""
    program = shutil.which("systemctl")
    if program is None:
        return OLDEST_SYSTEMD
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"systemd (\d+)", told)
    return int(found[1]) if found else OLDEST_SYSTEMD


def _is_ours(path: Path) -> bool:
    return path.read_text(encoding="utf-8", errors="replace").startswith(MARK)


def _program() -> str:
    program = shutil.which("systemctl")
    if program is None:
        raise DataError("there is no systemctl: a service needs systemd; without options the unit is printed")
    return program


def _systemctl(manager: Manager, *arguments: str) -> None:
    command = [_program(), *manager.options, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        remedy = ""
        if "--user" in manager.options and "connect to bus" in said:
            remedy = "; log in as this user, since su and sudo start no systemd of theirs"
        raise ServiceError(f"systemctl {' '.join(command[1:])}: {said}{remedy}")
