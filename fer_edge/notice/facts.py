"""What a run computes, keeps and sends, as its configuration says; docs/privacy.md has it in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

from ..config import Config
from ..option import FileLimit
from ..outputs.page.address import is_private

DAY = 86400.0

Picture = Literal["off", "blurred", "full"]
"""What somebody elsewhere sees: no picture, one that is pixelated as a whole, or the picture itself."""


FORBIDDEN = (
    "in the EU it is forbidden to infer emotions at work and in education, except for medical or safety "
    "reasons (Regulation (EU) 2024/1689, Article 5(1)(f)); mask staff areas (--mask). fer-edge notice prints "
    "a sheet for those in front of the camera"
)
"""What every run on a camera warns of."""


@dataclass(frozen=True)
class Kept:
    """Something that stays on the device."""

    what: Literal["visits", "seconds", "lines", "film", "picture"]
    """``visits``: who came when, for how long, with which emotions, and the minutes. ``seconds``: the same by
    the second, in sessions that somebody starts. ``lines``: each face of each frame. ``film``, ``picture``:
    pictures of people."""
    limits: tuple[FileLimit, ...] = ()
    """After which it is deleted; by none, it stays until somebody deletes it."""

    @property
    def shows_people(self) -> bool:
        """Whether somebody can be recognized in it."""
        return self.what in ("film", "picture")


@dataclass(frozen=True)
class Sent:
    """Something that leaves the program, and perhaps the device."""

    how: Literal["page", "broker", "monitor", "program"]
    """``page``: whoever has its token; ``broker``: a broker of MQTT; ``monitor``: figures for Prometheus in a
    file; ``program``: lines for another program, through a pipe."""
    where: str
    """Address, host or file; without secrets."""
    picture: Picture = "off"
    local: bool = False
    """Whether it stays on this device, as far as this program knows."""


@dataclass(frozen=True)
class Facts:
    """What a run does with what its cameras see."""

    kept: tuple[Kept, ...]
    sent: tuple[Sent, ...]
    masked: bool
    """Whether parts of a picture are left out."""


def facts_of(config: Config) -> Facts:
    """Return what a run of this configuration keeps and sends."""
    whole = [config, *(camera.config for camera in config.cameras)]
    return Facts(
        kept=tuple(dict.fromkeys(_kept(config, whole))),
        sent=tuple(dict.fromkeys(_sent(config, whole))),
        masked=any(one.watch.mask or one.watch.region for one in whole),
    )


def leaving(facts: Facts) -> str:
    """Say in a line what leaves the device."""
    parts = [_in_words(sent) for sent in facts.sent if not sent.local]
    passed = [f"; {_in_words(sent)}" for sent in facts.sent if sent.how == "program"]
    return f"leaves this device: {', '.join(parts) or 'nothing'}{''.join(passed)}"


def _kept(config: Config, whole: list[Config]) -> Iterator[Kept]:
    # Page and broker keep a store in the state folder where none is named.
    if config.store or _page(config) is not None or _broker(config) is not None:
        yield Kept("visits", (FileLimit(seconds=config.keep * DAY),))
        yield Kept("seconds", (FileLimit(seconds=config.keep_detail * DAY),))
    if any(one.jsonl and one.jsonl != "-" for one in whole):
        yield Kept("lines", config.keep_files)
    if any(one.save_video for one in whole):
        yield Kept("film", config.keep_files)
    if any(one.save_image for one in whole):
        yield Kept("picture")


def _sent(config: Config, whole: list[Config]) -> Iterator[Sent]:
    page, broker = _page(config), _broker(config)
    if page is not None:
        yield page
    if broker is not None:
        yield broker
    if config.metrics:
        yield Sent("monitor", config.metrics)
    if any(one.jsonl == "-" for one in whole):
        yield Sent("program", "standard output", local=True)


def _page(config: Config) -> Sent | None:
    address = config.page
    if address is None:
        return None
    private = is_private(address.host, config.page_host)
    picture = cast(Picture, config.page_picture or ("full" if private else "blurred"))
    return Sent("page", next(iter(config.page_host), str(address)), picture, private)


def _broker(config: Config) -> Sent | None:
    url = config.mqtt
    if url is None:
        return None
    picture = cast(Picture, config.mqtt_camera or "off")
    return Sent("broker", urlsplit(url).hostname or "", picture)


def _in_words(sent: Sent) -> str:
    pictures = {"off": "", "blurred": " (pixelated picture)", "full": " (picture)"}
    told = {
        "page": f"page on {sent.where}",
        "broker": f"MQTT to {sent.where}",
        "monitor": f"figures for Prometheus in {sent.where}",
        "program": f"JSON lines go to {sent.where}",
    }
    return told[sent.how] + pictures[sent.picture]
