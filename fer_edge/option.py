"""Options as fields of dataclasses: what flags, configuration files, variables and documentation are made of.

A field made by :func:`option` carries its help and the :class:`Kind` of its values; :func:`options_of` lists
them. This module knows no option and imports nothing but the standard library: command lines are built before
NumPy is loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Scalar = str | int | float | bool

Region = tuple[float, float, float, float]
"""Left, top, right and bottom in parts of a picture, 0 to 1."""

Polygon = tuple[tuple[float, float], ...]
"""Corners x, y in parts of a picture, 0 to 1."""


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """What values an option takes.

    Every value is parsed as text, also one from a TOML file: a check is stated once and holds for all.
    """

    noun: str
    """Completes "... is not"."""
    parse: Callable[[str], Any]
    """An argparse type: raises ``ArgumentTypeError`` or ``ValueError`` for what is no such value."""
    toml: tuple[type, ...] = (str,)
    """Types of TOML values that are accepted."""
    write: Callable[[Any], Any] = _as_it_is
    """From a value that is not ``None`` back to one in TOML."""
    text: Callable[[Any], str] = str
    """From a value in TOML, of one of the types, to the text that is parsed; may raise ``TypeError``."""
    separator: str | None = ","
    """Between several values in a variable; ``None``: white space."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option; :func:`option` explains the fields."""

    name: str = ""
    default: Any = None
    group: str
    help: str
    kind: Kind
    metavar: str | None = None
    choices: tuple[Scalar, ...] | None = None
    alone: str | None = None
    positional: bool = False
    instead_of: tuple[str, ...] = ()
    shown: str | None = None
    reloads: bool = False

    @property
    def flag(self) -> str:
        """The option on a command line; for a positional one what the help calls it."""
        return str(self.metavar) if self.positional else "--" + self.name.replace("_", "-")

    @property
    def off(self) -> str | None:
        """A flag that gives the default, of an option that is off or empty by default."""
        return None if self.default else "--no-" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def switch(self) -> bool:
        """Whether its flag takes no value."""
        return self.kind is SWITCH

    @property
    def many(self) -> bool:
        """Whether it can be given more than once."""
        return isinstance(self.default, tuple)

    @property
    def explained(self) -> str:
        """The help with the default filled in, still for argparse to format."""
        default = self.shown or str(self.written(self.default))
        return self.help.replace("%(default)s", default.replace("%", "%%"))

    def written(self, value: Any) -> Any:
        """``value`` as TOML has it; ``None`` for none, which TOML cannot say."""
        if self.many:
            return [self.kind.write(one) for one in value]
        return None if value is None else self.kind.write(value)


PREFIX = "FER_EDGE_"
"""Begins the names of environment variables."""


def option(
    default: Any,
    group: str,
    help: str,
    kind: Kind | None = None,
    *,
    metavar: str | None = None,
    choices: tuple[Scalar, ...] | None = None,
    alone: str | None = None,
    positional: bool = False,
    instead_of: tuple[str, ...] = (),
    shown: str | None = None,
    reloads: bool = False,
) -> Any:
    """A dataclass field that is an option.

    ``default``: a tuple makes an option that can be given more than once. ``group``: its heading in the
    help. ``help``: as argparse takes it, ``%(default)s`` included. ``kind``: by default :data:`SWITCH` where
    ``default`` is ``False``, else :data:`TEXT`. ``metavar``: what the help calls the value. ``choices``: the
    values there are. ``alone``: the text that a flag without a value stands for. ``positional``: given
    without a flag. ``instead_of``: options that a flag or variable of this one displaces, where these come
    from a place of lower precedence. ``shown``: what texts call the default. ``reloads``: a run that goes on
    can take another value.
    """
    made = Option(
        group=group,
        help=help,
        kind=kind or (SWITCH if default is False else TEXT),
        metavar=metavar,
        choices=choices,
        alone=alone,
        positional=positional,
        instead_of=instead_of,
        shown=shown,
        reloads=reloads,
    )
    return dataclasses.field(default=default, metadata={"option": made})


def options_of(holder: type[Any]) -> dict[str, Option]:
    """The options among the fields of a dataclass, by name, in their order."""
    return {
        field.name: dataclasses.replace(field.metadata["option"], name=field.name, default=field.default)
        for field in dataclasses.fields(holder)
        if "option" in field.metadata
    }


def nonempty(text: str) -> str:
    """An argparse type: a non-empty text; an unset shell variable gives an empty one."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def positive_int(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def moment(text: str) -> datetime:
    """An argparse type: a date or time by ISO 8601, with a time zone where it has one."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-26 or 2026-11-26T12:30"
        ) from None


def pixel_count(text: str) -> int:
    """An argparse type: a number of pixels, maybe with k, M or G behind it."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text)
    value = float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]] if match else 0.0
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels like 100M")
    return int(value)


def _written_pixels(value: int) -> Scalar:
    for letter, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value % factor == 0:
            return f"{value // factor}{letter}"
    return value


_BYTES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _size(text: str) -> int:
    """A number of bytes, of a text such as 500M or 20G."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT])B?", text)
    value = float(match[1]) * _BYTES[match[2]] if match else math.inf
    if math.isinf(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M or 20G")
    return round(value)


def _written_size(value: int) -> Scalar:
    letter = next((letter for letter in "TGM" if value and value % _BYTES[letter] == 0), "k")
    return f"{value / _BYTES[letter]:.3f}".rstrip("0").rstrip(".") + letter


@dataclass(frozen=True)
class FileLimit:
    """A limit of files that are kept, of their size or of their age."""

    size: int | None = None
    """Bytes."""
    seconds: float | None = None


_AGES = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_LEAST_KEPT = 10**6


def _file_limit(text: str) -> FileLimit:
    age = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
    seconds = float(age[1]) * _AGES[age[2]] if age else 0.0
    if 0 < seconds < math.inf:
        return FileLimit(seconds=seconds)
    try:
        size = _size(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a size such as 20G nor an age such as 30d"
        ) from error
    if size < _LEAST_KEPT:
        raise argparse.ArgumentTypeError(f"{text!r} is too small; 1M is the least that can be kept")
    return FileLimit(size=size)


def _written_limit_of_files(limit: FileLimit) -> Scalar:
    if limit.size is not None:
        return _written_size(limit.size)
    assert limit.seconds is not None
    letter = next((letter for letter in "dh" if limit.seconds % _AGES[letter] == 0), "h")
    return f"{limit.seconds / _AGES[letter]:f}".rstrip("0").rstrip(".") + letter


def _days(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days, more than 0")
    return value


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> float:
    """An argparse type: a duration such as 30s, 10m or 1h, more than 0; in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30s, 10m or 1h")
    return seconds


def _written_duration(seconds: float) -> Scalar:
    for letter, factor in (("h", 3600.0), ("m", 60.0)):
        if seconds % factor == 0:
            return f"{seconds / factor:.0f}{letter}"
    return f"{seconds:f}".rstrip("0").rstrip(".") + "s"


def _limit(text: str) -> float:
    """An argparse type: on (infinite seconds), off (none), a number of seconds, or a duration."""
    number = re.fullmatch(r"[\d.]+", text) is not None
    with contextlib.suppress(argparse.ArgumentTypeError):
        if not number:
            return math.inf if _switch(text) else 0.0
    try:
        return duration(f"{text}s" if number else text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither on nor off nor a time such as 90s or 10m"
        ) from error


def _written_limit(seconds: float) -> Scalar:
    if math.isinf(seconds):
        return "on"
    return _written_duration(seconds) if seconds else "off"


def _balance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 2")
    return value


def _detect_size(text: str) -> int | str:
    if text == "full":
        return text
    try:
        return positive_int(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor full") from error


def region_of(values: Any) -> Region:
    """Return four numbers as a region; raises ``ValueError`` unless they are one that is not empty."""
    try:
        left, top, right, bottom = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"region must be four numbers: left, top, right, bottom; got {values!r}") from error
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            f"region must be left < right and top < bottom, in parts of the picture, 0 to 1; got {values!r}"
        )
    return left, top, right, bottom


def polygon_of(points: Any) -> Polygon:
    """Return three or more pairs of numbers as a polygon; raises ``ValueError`` for anything else."""
    try:
        polygon = tuple((float(x), float(y)) for x, y in points)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"mask must be a polygon of points x, y; got {points!r}") from error
    if len(polygon) < 3 or not all(0 <= part <= 1 for point in polygon for part in point):
        raise ValueError(
            f"mask must be a polygon of three or more points in parts of the picture, 0 to 1; got {points!r}"
        )
    return polygon


def _region(text: str) -> Region:
    try:
        return region_of(text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not LEFT,TOP,RIGHT,BOTTOM in parts of the picture, 0 to 1"
        ) from error


def _polygon(text: str) -> Polygon:
    try:
        return polygon_of([point.split(",") for point in text.split()])
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a polygon like '0,0 0.3,0 0.3,1', in parts of the picture, 0 to 1"
        ) from error


def _points(polygon: Any) -> str:
    return " ".join(_numbers(point) for point in polygon)


def _numbers(values: Any) -> str:
    return ",".join(str(value) for value in values)


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    """A name, or an address without brackets."""
    port: int
    """0 for any that is free."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LOOPBACK = "127.0.0.1"

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]*)):([0-9]{1,5})")


def _address(text: str) -> Address:
    found = _ADDRESS.fullmatch(text)
    if not found or int(found[3]) > 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not HOST:PORT, such as :8080 (this machine only), 0.0.0.0:8080 or [::1]:8080"
        )
    return Address(found[1] or found[2] or LOOPBACK, int(found[3]))


def _two_files(text: str) -> tuple[str, str]:
    first, comma, second = text.partition(",")
    if not (comma and first.strip() and second.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not CERTIFICATE,KEY: two files, with a comma between")
    return first.strip(), second.strip()


def _switch(text: str) -> bool:
    if text.lower() in ("on", "yes", "true", "1"):
        return True
    if text.lower() in ("off", "no", "false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a name: at most 31 letters, digits, dots, hyphens and underscores, the first a "
            "letter or digit"
        )
    return text


TEXT = Kind("a text", nonempty)
NAME = Kind("a name of letters, digits, dots, hyphens and underscores", _name)
WHOLE = Kind("a whole number", int, (int,))
COUNT = Kind("a whole number of at least 1", positive_int, (int,))
NUMBER = Kind("a number", float, (int, float))
SWITCH = Kind("on or off", _switch, (bool,))
"""Off by default; its flag, without a value, switches it on."""
ON_OFF = Kind("on or off", _switch, (bool,))
"""Its flag is followed by ``on`` or ``off``."""
DURATION = Kind("a duration such as 30s, 10m or 1h", duration, (str,), _written_duration)
"""In seconds."""
LIMIT = Kind('on, off, or a time such as "90s" or "10m"', _limit, (bool, int, float, str), _written_limit)
"""In seconds: infinite, 0, or so many."""
DAYS = Kind("a number of days, more than 0", _days, (int, float))
BYTES = Kind("a size such as 500M or 20G", _size, (str,), _written_size)
FILE_LIMIT = Kind("a size such as 20G or an age such as 30d", _file_limit, (str,), _written_limit_of_files)
PIXELS = Kind("a number of pixels like 100M", pixel_count, (int, str), _written_pixels)
BALANCE = Kind("a number from 0 to 2", _balance, (int, float))
DETECT_SIZE = Kind("a number of pixels, or full", _detect_size, (int, str))
ADDRESS = Kind("HOST:PORT, such as :8080", _address, (str,), str)
TWO_FILES = Kind("CERTIFICATE,KEY", _two_files, (str,), ",".join)
CAMERA = Kind("a camera", nonempty, (int, str), separator=None)
REGION = Kind("four numbers", _region, (list,), list, _numbers)
MASK = Kind("polygons", _polygon, (list,), lambda polygon: [list(point) for point in polygon], _points, ";")
