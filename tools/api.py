"""Write docs/api.md from docs/openapi.json; ``make man`` runs this."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
SOURCE, PAGE = DOCS / "openapi.json", DOCS / "api.md"

_HEAD = """\
# The API of the page

<!-- made by tools/api.py (make man) from openapi.json -->

`fer-edge run --page :8080` answers on `http://127.0.0.1:8080`. [openapi.json](openapi.json) has all this for
programs; the tests hold every answer against it. [page.md](page.md) explains tokens, TLS and proxies.

```sh
curl http://127.0.0.1:8080/api/state
curl -N http://127.0.0.1:8080/api/events
curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"paused": true}' \\
    https://door.local:8080/api/pause
```

Answers are JSON in UTF-8 where nothing else is said. An error is `{"error": "what was wrong, and what would
be right"}`. Every `GET` takes `HEAD` as well; other methods get 405, other addresses 404. Fields may be added
to any object; one that changes its meaning or goes raises `version`.
"""


def page() -> str:
    """The page as it should be."""
    document = json.loads(SOURCE.read_text(encoding="utf-8"))
    parts = [_HEAD, "## Addresses\n"]
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            parts += _address(method, path, described)
    parts += _refusals(document)
    parts.append("## Objects\n")
    for name, schema in document["components"]["schemas"].items():
        parts += _object(name, schema)
    return "\n".join(parts).rstrip() + "\n"


def _address(method: str, path: str, described: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {method.upper()} {path}\n"
    yield f"{described['summary']}. {described.get('description', '')}".rstrip() + "\n"
    rows = [
        f"| `{one['name']}` | {one['in']} | {_kind(one['schema'])} | {one['description']} |"
        for one in described.get("parameters", ())
    ]
    if rows:
        yield "\n".join(["| parameter | in | value | |", "|---|---|---|---|", *rows, ""])
    if "requestBody" in described:
        yield "Body: JSON.\n"
        yield _fields(described["requestBody"]["content"]["application/json"]["schema"])
    rows = [
        f"| {status} | {_content(one)} | {one['description']} |"
        for status, one in described["responses"].items()
        if "$ref" not in one
    ]
    yield "\n".join(["| status | answer | |", "|---|---|---|", *rows, ""])


def _refusals(document: Mapping[str, Any]) -> Iterator[str]:
    """Answers that several addresses have."""
    asked: dict[str, tuple[str, set[str], set[str]]] = {}
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            for status, one in described["responses"].items():
                if "$ref" in one:
                    name = one["$ref"].rpartition("/")[2]
                    asked.setdefault(name, (status, set(), set()))[1].add(path)
                    asked[name][2].add(method)
    yield "### Refusals\n"
    yield "All of them may also answer with an [Error](#error):\n"
    rows = []
    for name, (status, paths, methods) in sorted(asked.items(), key=lambda one: one[1][0]):
        of = "POST" if methods == {"post"} else "all"
        if of == "all" and "/healthz" not in paths:
            of = "all but /healthz and /page.css"
        described = document["components"]["responses"][name]["description"]
        rows.append(f"| {status} | {of} | {described} |")
    yield "\n".join(["| status | at | |", "|---|---|---|", *rows, ""])
    yield (
        "What is no proper HTTP request gets 400, 431 or 501, one whose length is unclear 400, and a "
        "connection too many 503; the connection is closed then.\n"
    )


def _content(answer: Mapping[str, Any]) -> str:
    for kind, described in answer.get("content", {}).items():
        return _kind(described["schema"]) if described.get("schema") else f"`{kind}`"
    return ""


def _object(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    if "description" in schema:
        yield f"{schema['description']}\n"
    yield _fields(schema) if schema.get("properties") else f"{_kind(schema).capitalize()}.\n"


def _fields(schema: Mapping[str, Any], within: str = "") -> str:
    rows = list(_rows(schema, within))
    return "\n".join(["| field | value | |", "|---|---|---|", *rows, ""])


def _rows(schema: Mapping[str, Any], within: str) -> Iterator[str]:
    for name, one in schema["properties"].items():
        described = one.get("description", "")
        if name not in schema["required"]:
            described = f"May be left out. {described}".rstrip()
        yield f"| `{within}{name}` | {_kind(one)} | {described} |"
        if "properties" in one:
            yield from _rows(one, f"{within}{name}.")


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "oneOf" in schema:
        return " or ".join(map(_kind, schema["oneOf"]))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    described = []
    for kind in kinds:
        if kind == "array":
            described.append(f"list of {_kind(schema['items'])}")
        elif kind == "object" and "additionalProperties" in schema and schema["additionalProperties"]:
            described.append(f"object of {_kind(schema['additionalProperties'])}")
        else:
            described.append("date and time" if schema.get("format") == "date-time" else kind)
    limits = [f"{schema[name]}" for name in ("minimum", "maximum") if name in schema]
    return " or ".join(described) + (f", {' to '.join(limits)}" if len(limits) == 2 else "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE, file=sys.stderr)
