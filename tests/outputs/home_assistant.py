"""Home Assistant's own schemas of its mqtt component, without Home Assistant.

As a program: ``python home_assistant.py FOLDER < payload.json`` with the sources of Home Assistant in FOLDER.
It reads a list of announcements, each as it is published, and prints a list of what is wrong with each,
``null`` for nothing. What the schemas need of Home Assistant is loaded from its sources, all else is made up:
a module whose every name is a class that can be called, subclassed and subscribed.

Home Assistant wants a newer Python; where the syntax of type parameters (PEP 695) is not known, it is taken
away, and for probatio, which is its voluptuous now, voluptuous itself stands in.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.util
import itertools
import json
import re
import sys
import types
import typing
from pathlib import Path

REAL = {
    "homeassistant.const",
    "homeassistant.generated.entity_platforms",
    "homeassistant.helpers.config_validation",
    "homeassistant.components.sensor.const",
    "homeassistant.components.binary_sensor.const",
    *(
        f"homeassistant.components.mqtt.{name}"
        for name in (
            "abbreviations",
            "binary_sensor",
            "camera",
            "config",
            "const",
            "discovery",
            "schemas",
            "sensor",
            "switch",
            "util",
        )
    ),
}
"""Modules that are loaded from the sources."""

PLATFORMS = ("sensor", "binary_sensor", "switch", "camera")

_GENERIC = re.compile(r"^(\s*(?:async )?(?:def|class) \w+)\[[^\]\n]*\](?=[(:])", re.MULTILINE)
_ALIAS = re.compile(r"^type (\w+)(?:\[[^\]\n]*\])? =", re.MULTILINE)
_EXCEPT = re.compile(r"^(\s*except) ([\w.]+(?:, [\w.]+)+):", re.MULTILINE)


class _Anything(type):
    """A class of which everything can be had."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = anything(name)
        setattr(cls, name, made)
        return made

    def __call__(cls, *given, **options):
        # As a decorator, it changes nothing.
        if len(given) == 1 and not options and isinstance(given[0], (types.FunctionType, type)):
            return given[0]
        return anything(cls.__name__)

    def __getitem__(cls, _):
        return anything(cls.__name__)

    def __iter__(cls):
        return iter(())

    def __or__(cls, _):
        return cls

    __ror__ = __or__


def anything(name):
    return _Anything(name, (), {})


class _Module(types.ModuleType):
    """A module of which every name can be had; those that a real module beside it has are those."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in REAL:
            return importlib.import_module(f"{self.__name__}.{name}")
        if f"{self.__name__}.const" in REAL:
            known = vars(importlib.import_module(f"{self.__name__}.const"))
            if name in known:
                return known[name]
        if name == "ENTITY_CATEGORIES_SCHEMA":
            return sys.modules["probatio"].Coerce(
                importlib.import_module("homeassistant.const").EntityCategory
            )
        made = anything(name)
        setattr(self, name, made)
        return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, folder):
        self._folder = folder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "homeassistant":
            return importlib.util.spec_from_loader(name, self, is_package=name not in REAL)
        return None

    def create_module(self, spec):
        return None if spec.name in REAL else _Module(spec.name)

    def exec_module(self, module):
        if module.__name__ in REAL:
            path = self._folder.joinpath(*module.__name__.split(".")).with_suffix(".py")
            exec(compile(_readable(path.read_text(encoding="utf-8")), str(path), "exec"), vars(module))


def _readable(source):
    """``source`` in the syntax of this Python."""
    try:
        ast.parse(source)
    except SyntaxError:
        source = _GENERIC.sub(r"\1", source)
        source = _ALIAS.sub(r"\1 =", source)
        source = _EXCEPT.sub(r"\1 (\2):", source)
        source = f"from __future__ import annotations\n{source}"
    return source


def _probatio():
    """The library of the schemas, or voluptuous under its name."""
    try:
        return importlib.import_module("probatio")
    except (ImportError, SyntaxError):
        import voluptuous

    made = _Module("probatio")
    vars(made).update({name: value for name, value in vars(voluptuous).items() if not name.startswith("_")})
    made.EnsureList = lambda: (
        lambda value: [] if value is None else value if isinstance(value, list) else [value]
    )
    made.AtMostOne = lambda *keys: lambda value: value
    made.NonNegative = lambda: voluptuous.Range(min=0)
    return made


def prepare(folder):
    if not hasattr(typing, "override"):
        typing.override = lambda function: function
    sys.modules["probatio"] = _probatio()
    sys.meta_path.insert(0, Finder(folder))


def wrong(payload):
    """What Home Assistant would say against an announcement, ``None`` where it takes all of it."""
    mqtt = {
        name: importlib.import_module(f"homeassistant.components.mqtt.{name}")
        for name in ("discovery", "schemas", *PLATFORMS)
    }
    invalid = sys.modules["probatio"].Invalid
    config = json.loads(json.dumps(payload))
    mqtt["discovery"]._replace_all_abbreviations(config)
    try:
        mqtt["schemas"].validate_device_discovery_components(mqtt["schemas"].DEVICE_DISCOVERY_SCHEMA(config))
    except invalid as error:
        return f"device: {error}"
    for key, component in config["components"].items():
        platform = component.pop("platform")
        if not component:
            continue
        mqtt["discovery"]._merge_common_device_options(component, config)
        if platform not in PLATFORMS:
            return f"{key}: no schema of {platform} is known here"
        # The schema of YAML, as that of discovery passes over what it does not know.
        schema = mqtt[platform].PLATFORM_SCHEMA_MODERN
        known = {"command_topic"} if platform in ("sensor", "binary_sensor", "camera") else set()
        known |= {"state_topic"} if platform == "camera" else set()
        inherited = {name: component.pop(name) for name in known & set(component) & set(config)}
        try:
            schema(component)
        except invalid as error:
            return f"{key}: {error} {inherited or ''}".rstrip()
    ids = [one["unique_id"] for one in config["components"].values() if "unique_id" in one]
    twice = [one for one, many in itertools.groupby(sorted(ids)) if len([*many]) > 1]
    return f"unique ids twice: {twice}" if twice else None


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
    print(json.dumps([wrong(one) for one in json.load(sys.stdin)]))
