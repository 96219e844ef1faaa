"""A configuration as a TOML file, for ``--print-config``."""

from __future__ import annotations

from ..errors import printable
from ..toml_text import toml
from .cameras import own_settings, tables_of
from .schema import GROUPS, OPTIONS
from .settings import Loaded, Setting


def to_toml(loaded: Loaded) -> str:
    """The configuration as a TOML file that :func:`load` reads, with the origin of each value as a comment.

    Users, passwords and tokens in URLs are left out, and the comment says so. Raises DataError for a text
    that is not Unicode, as names of files may be.
    """
    lines = ["# fer-edge run: flags, then environment, then file, then defaults"]
    tables = tables_of(loaded.settings)
    for group in GROUPS:
        lines += ["", f"# {group}"]
        for name, setting in loaded.settings.items():
            if OPTIONS[name].group != group:
                continue
            if name == "camera" and tables:
                lines.append(f"# camera: {len(tables)}, see below ({printable(setting.origin)})")
            else:
                lines.append(_written(name, setting))
    for table in tables:
        lines += ["", "[[camera]]", f"name = {toml(table.name)}"]
        own = own_settings(table, loaded.settings)
        for name, setting in table.settings.items():
            displaced = f"# {name}: see above ({printable(loaded.settings[name].origin)})"
            lines.append(_written(name, setting) if name in own else displaced)
    return "\n".join(lines)


def _written(name: str, setting: Setting) -> str:
    from ..sources.urls import without_secrets

    value, origin = OPTIONS[name].written(setting.value), printable(setting.origin)
    if value is None:
        return f"# {name}: none ({origin})"
    texts = value if isinstance(value, list) else [value]
    plain = [without_secrets(text) if isinstance(text, str) else text for text in texts]
    if plain != texts:
        value, origin = plain if isinstance(value, list) else plain[0], f"{origin}; secrets left out"
    return f"{name} = {toml(value)}  # {origin}"
