"""Requests to a run as JSON objects, as the local socket carries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import DataError
from .control import Control

_ACTIONS: dict[str, Callable[[Control, Mapping[str, Any]], None]] = {
    "status": lambda control, request: None,
    "pause": lambda control, request: control.pause(),
    "resume": lambda control, request: control.resume(),
    "start": lambda control, request: control.start_session(request["name"]),
    "mark": lambda control, request: control.mark(request["name"], request.get("group")),
    "stop": lambda control, request: control.stop_session(),
}

_NEEDED = {"start": ("name",), "mark": ("name",)}


def obey(control: Control, request: Any) -> dict[str, Any]:
    """Do what ``request`` asks for, as ``{"action": "mark", "name": "A", "group": "adverts"}``.

    Actions: ``status``, ``pause``, ``resume``, and of sessions ``start``, ``mark`` and ``stop``. Returns
    what holds then: ``paused``, ``session``, ``cameras``, ``store`` (whether there is one for sessions).
    Raises :class:`~fer_edge.errors.DataError` for what is no request, or cannot be done.
    """
    if not isinstance(request, Mapping):
        raise DataError('a request is an object, as {"action": "status"}')
    action = request.get("action")
    if not isinstance(action, str) or action not in _ACTIONS:
        raise DataError(f"action must be one of {', '.join(_ACTIONS)}; got {action!r:.40}")
    for key in _NEEDED.get(action, ()):
        if key not in request:
            raise DataError(f"{action}: {key} is missing")
    _ACTIONS[action](control, request)
    return {
        "paused": control.paused,
        "session": control.session,
        "cameras": [*control.cameras],
        "store": control.keeps_sessions,
    }
