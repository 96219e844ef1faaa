"""Answers that every page gives: JSON, files of its package, and errors as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .gate import refused

CLOSE = {"connection": "close"}


def as_json(data: Any, status: int = 200) -> Response:
    """``data`` as a body of JSON."""
    body = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, media_type="application/json")


def file_of(package: str, name: str) -> bytes:
    """A file in the folder ``files`` of a package of ours."""
    return resources.files(package).joinpath("files", name).read_bytes()


async def _told(request: Request, error: Exception) -> Response:
    """An error as JSON."""
    assert isinstance(error, HTTPException)
    told = {404: "nothing at this address", 405: "not a method of this address"}.get(error.status_code)
    usual = error.detail in ("Not Found", "Method Not Allowed")
    detail = told if usual and told else error.detail
    headers = dict(error.headers or {})
    if request.method not in ("GET", "HEAD") and error.status_code in (404, 405):
        headers |= CLOSE
    return JSONResponse({"error": detail}, error.status_code, headers)


async def _failed(request: Request, error: Exception) -> Response:
    """What is known of a fault of ours; the error itself goes to the log."""
    return refused(500, "a fault of fer-edge; see its log")


HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _told,
    Exception: _failed,
}
"""What an application answers where something is wrong."""
