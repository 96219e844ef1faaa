"""The page of a run: its server, its pictures, and who may open it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import MissingExtraError
from ...option import Address
from ...pipeline.result import FrameResult
from .address import Hosts, bound, is_loopback, is_private, outgoing_address
from .token import FILE, SECRET, Key, token_in, token_of

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingExtraError("--page", error.name or "starlette", "page") from error

from .events import Events
from .gate import Gate
from .pictures import Pictures
from .routes import Routes, Sources
from .server import ServerThread, tls_context

if TYPE_CHECKING:
    from ...control.control import Control
    from ..live import Live

Shown = Literal["off", "blurred", "full"]

END_SECONDS = 1.5
"""Until the page is given up when the run ends."""

_NOTICE_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageOptions:
    """What the page is to be, as the options ``--page...`` say."""

    address: Address
    picture: Shown | None = None
    fps: float = 10.0
    viewers: int = 10
    tls: tuple[str, str] | None = None
    hosts: tuple[str, ...] = ()
    token_file: str | None = None


class Door:
    """Where the page will be, and what opens it: all that can be wrong is found out here, before a camera is
    opened.

    ``state_folder`` gives the folder for a token's secrets; it is called only where one is needed.
    ``token_name``: of the token's file in it; pages that may share a folder have one each. Raises
    :class:`~fer_edge.errors.DataError` for an address that is taken or not this machine's, for a certificate
    or token that cannot be read.
    """

    def __init__(
        self, options: PageOptions, state_folder: Callable[[], Path], token_name: str = FILE
    ) -> None:
        self.options = options
        self.tls: ssl.SSLContext | None = tls_context(*options.tls) if options.tls else None
        self.listener: socket.socket = bound(options.address)
        try:
            place = self.listener.getsockname()
            self.host, self.port = str(place[0]), int(place[1])
            self.local = is_loopback(self.host)
            self.token_path: Path | None = None
            token = None
            if options.token_file is not None:
                self.token_path = Path(options.token_file)
                token = token_of(self.token_path)
            elif not self.local:
                folder = state_folder()
                self.token_path, token = folder / token_name, token_in(folder, token_name)
            self.key = None if token is None else Key(token, token_in(state_folder(), SECRET))
        except BaseException:
            self.listener.close()
            raise

    @property
    def picture(self) -> Shown:
        """What is shown of the picture: all of it only to this machine, unless it was asked for."""
        if self.options.picture is not None:
            return self.options.picture
        return "full" if is_private(self.host, self.options.hosts) else "blurred"

    @property
    def url(self) -> str:
        """Where the page is, without the token."""
        host = self.options.hosts[0] if self.options.hosts else self.options.address.host
        return self._url(socket.gethostname() if self._everywhere else host)

    @property
    def numeric_url(self) -> str | None:
        """The same by the machine's address, where :attr:`url` has its name; ``None`` elsewhere.

        Under TLS as well, since certificates are mostly for names.
        """
        host = outgoing_address() if self._everywhere and not self.tls else None
        return None if host is None else self._url(host)

    @property
    def _everywhere(self) -> bool:
        """Whether it listens on all addresses, and no name was given."""
        return self.host in ("0.0.0.0", "::") and not self.options.hosts

    def _url(self, host: str) -> str:
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/"

    def close(self) -> None:
        """Let the address go."""
        self.listener.close()


class PageOutput:
    """Serves the page while a run goes on; an output that is written to in the thread of the loop.

    ``figures``, ``controls``, ``metrics``: where the answers come from. ``store``: the file that the run
    writes. ``silence``: gives the seconds without a frame after which the page says that something is wrong.
    """

    def __init__(
        self,
        door: Door,
        cameras: Sequence[str],
        figures: Live,
        controls: Control,
        metrics: Callable[[], tuple[bytes, str]],
        store: Path | None = None,
        unsure: bool = True,
        silence: Callable[[], float] = lambda: 10.0,
        clock: Callable[[], float] = time.monotonic,
        **limits: Any,
    ) -> None:
        self._door, self._figures, self._controls = door, figures, controls
        self._silence, self._clock = silence, clock
        self._frames = 0
        self._latest: float | None = None
        """When a frame was processed, or the run was last resumed: frames are due from then on."""
        self._paused = bool(controls.snapshot()["paused"])
        options, picture = door.options, door.picture
        self.pictures = None if picture == "off" else Pictures(cameras, picture, options.fps, unsure)
        self._events = Events()
        self._tasks: list[asyncio.Task[None]] = []
        self._routes = Routes(
            Sources(
                cameras=tuple(cameras),
                figures=figures,
                controls=controls,
                pictures=self.pictures,
                store=store,
                metrics=metrics,
                health=self.health,
                frames=lambda: self._frames,
                viewers=options.viewers,
                picture=picture,
                unsure=unsure,
            ),
            self._events,
        )
        hosts = Hosts.of(options.address.host, (door.host, *options.hosts))
        gate = Gate(
            self._routes.app(), hosts, door.key, f"fer_edge_page_{door.port}", secure=door.tls is not None
        )
        self.server = ServerThread(gate, door.listener, door.tls, self._begin, self._end, **limits)
        self._closed = False

    def start(self) -> None:
        """Begin to serve."""
        self.server.start()

    def write(self, result: FrameResult) -> None:
        """Take a result."""
        self._frames += 1
        self._latest = self._clock()
        if self.pictures is not None:
            self.pictures.offer(result)

    def changed(self) -> None:
        """Show no picture of before: what may be seen has changed; from any thread."""
        was_paused, self._paused = self._paused, bool(self._controls.snapshot()["paused"])
        if was_paused and not self._paused:
            self._latest = self._clock()
        if self.pictures is not None:
            self.pictures.forget()

    def set_store(self, store: Path) -> None:
        """The run writes another store from now on."""
        self._routes.set_store(store)

    def cancel(self) -> None:
        """Nothing here waits."""

    def close(self) -> None:
        """Tell those who look on that the run has ended, and end."""
        if not self._closed:
            self._closed = True
            self.server.close(END_SECONDS)
            if self.pictures is not None:
                self.pictures.close()

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether frames are processed, or are not because that was asked for; and what is told of it.

        Neither names nor reasons of cameras are in it, as it needs no token.
        """
        now, latest = self._clock(), self._latest
        told = self._figures.snapshot()
        states = [camera["state"] for camera in told["cameras"]]
        counts = {"cameras": len(states), "running": states.count("running")}
        if told["paused"]:
            return True, {"ok": True, "paused": True, **counts}
        reason = None
        if latest is None:
            reason = "no frame was processed yet"
        elif not counts["running"] and "paused" not in states:
            reason = "no camera gives frames"
        elif now - latest > self._silence():
            reason = f"no frame was processed for {now - latest:.0f} s"
        if reason is not None:
            return False, {"ok": False, "reason": reason, **counts}
        return True, {"ok": True, "paused": False, **counts}

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        if self.pictures is not None:
            self.pictures.start(loop)
            self._tasks.append(loop.create_task(_lasting(self._notices, "notices")))
        self._tasks.append(loop.create_task(_lasting(self._routes.tell_state, "events")))

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._routes.end()

    async def _notices(self) -> None:
        """Say in the picture of a camera why there is none."""
        assert self.pictures is not None
        while True:
            await asyncio.sleep(_NOTICE_SECONDS)
            if not self.pictures.looked_at:
                continue
            for camera in self._figures.snapshot()["cameras"]:
                if camera["state"] != "running":
                    reason = f": {camera['reason']}" if camera["reason"] else ""
                    self.pictures.say(camera["name"], f"{camera['state']}{reason}")


async def _lasting(work: Callable[[], Any], name: str) -> None:
    """Do ``work`` without end, again where it fails."""
    while True:
        try:
            await work()
        except Exception as error:  # what is told next may be right again
            _log.warning("page: %s: %r", name, error)
            await asyncio.sleep(1)


def greet(door: Door) -> None:
    """Tell where the page is. The token is shown in a terminal only: a journal is read by many and kept."""
    _log.info(
        "page on %s%s", door.url, "" if door.key is None else f", opened by the token in {door.token_path}"
    )
    if door.key is None or not sys.stderr.isatty():
        return
    link = f"{door.url}?token={door.key.token}"
    print(f"open {link}", file=sys.stderr)
    if (numeric := door.numeric_url) is not None:
        # A phone seldom knows the name, so that its code has the address.
        link = f"{numeric}?token={door.key.token}"
        print(f"or   {link}", file=sys.stderr)
    try:
        import segno
    except ImportError:
        return
    segno.make(link, error="l", micro=False).terminal(out=sys.stderr, compact=True)
