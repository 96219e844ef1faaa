"""Options from environment variables."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping

from ..option import PREFIX
from .schema import OPTIONS, RESERVED
from .settings import ConfigError, Setting
from .values import checked

_log = logging.getLogger(__name__)


def from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    """The options set by variables; one that is empty counts as not set."""
    variables = {one.variable: one for one in OPTIONS.values()}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        if variable not in variables:
            near = difflib.get_close_matches(variable, variables, 1, cutoff=0.85)
            if near:
                raise ConfigError(f"{variable}: there is no such variable; did you mean {near[0]}?")
            _log.warning("%s: fer-edge has no such option; ignored", variable)
        elif text:
            one = variables[variable]
            parts = text.split(one.kind.separator) if one.many else [text]
            yield one.name, Setting(checked(one, map(str.strip, parts), variable), variable, 2)
