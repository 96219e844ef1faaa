"""What a device remembers of a broker: which rows it has confirmed, and what was announced.

Kept in the state folder, a file for each broker and name, replaced in one step.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...control.broker import Broker
from ...files import write_text
from .topics import plain

_VERSION = 1

_log = logging.getLogger(__name__)


def device_id(folder: Path) -> str:
    """Return the id of this device, 32 hexadecimal digits, made with the state folder.

    Raises ``OSError`` where it can be neither read nor written.
    """
    path = folder / "mqtt" / "id"
    with contextlib.suppress(FileNotFoundError):
        text = path.read_text(encoding="ascii", errors="replace").strip()
        with contextlib.suppress(ValueError):
            return uuid.UUID(text).hex
        _log.warning("%s: not the id of a device; a new one is made", path)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    made = uuid.uuid4().hex
    write_text(path, f"{made}\n")
    return made


class Progress:
    """What a broker has confirmed, of each store and table; from any thread."""

    def __init__(self, folder: Path, broker: Broker, name: str) -> None:
        key = f"{broker.place}/{broker.root}/{plain(name)}"
        self.path = folder / "mqtt" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        self._seqs: dict[str, dict[str, int]] = {}
        self._saved = True
        self._lock = threading.RLock()
        self.components: dict[str, str] = {}
        """What Home Assistant was announced, with its platforms; see :meth:`announce`."""
        try:
            self._take(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            self.damaged = False
        except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
            # Better twice than never: readers drop what they have already.
            _log.warning("mqtt: %s cannot be read (%s); all rows are sent again", self.path, error)
            self._seqs, self.components, self.damaged = {}, {}, True

    def _take(self, record: Mapping[str, Any]) -> None:
        if record["version"] != _VERSION:
            raise ValueError(f"version {record['version']!r} where {_VERSION} is known")
        self._seqs = {
            store: {table: int(seq) for table, seq in seqs.items()}
            for store, seqs in record["stores"].items()
        }
        self.components = {str(key): str(platform) for key, platform in record["components"].items()}
        self.damaged = False

    def after(self, store: str, table: str, last: int) -> int:
        """The ``seq`` of the last row of ``table`` that the broker has confirmed.

        ``last``: the last row of the store now; a broker that is met for the first time gets those after it.
        """
        with self._lock:
            seqs = self._seqs.setdefault(store, {})
            if table not in seqs:
                seqs[table] = 0 if self.damaged else last
                self._saved = False
            return seqs[table]

    def advance(self, store: str, table: str, seq: int) -> None:
        """The broker has confirmed all up to ``seq``."""
        with self._lock:
            self._seqs.setdefault(store, {})[table] = seq
            self._saved = False

    def announce(self, components: Mapping[str, str]) -> None:
        """Home Assistant was announced these."""
        with self._lock:
            if dict(components) != self.components:
                self.components = dict(components)
                self._saved = False

    def save(self) -> None:
        """Write what has changed. Raises ``OSError`` or DataError where the folder cannot be written."""
        with self._lock:
            if self._saved:
                return
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            record = {"version": _VERSION, "stores": self._seqs, "components": self.components}
            write_text(self.path, json.dumps(record, indent=1) + "\n")
            self._saved = True

    def forget(self) -> None:
        """Remember nothing of this broker. Raises ``OSError`` where the file cannot be deleted."""
        self.path.unlink(missing_ok=True)
