"""The devices of a fleet on one page, with the security of a run's page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..outputs.page import page as page_of_runs
from ..outputs.page.address import Hosts
from ..outputs.page.answers import HANDLERS, as_json, file_of
from ..outputs.page.gate import Gate
from ..outputs.page.server import ServerThread
from .board import Board

END_SECONDS = 1.5

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HERE, _PAGE = "fer_edge.fleet", "fer_edge.outputs.page"

_FILES = {
    "/": (_HERE, "index.html", "text/html; charset=utf-8"),
    "/page.css": (_PAGE, "page.css", "text/css; charset=utf-8"),
    "/fleet.css": (_HERE, "fleet.css", "text/css; charset=utf-8"),
    "/fleet.js": (_HERE, "fleet.js", "text/javascript; charset=utf-8"),
}


class FleetPage:
    """Serves what ``board`` knows at the place of ``door``, in a thread of its own."""

    def __init__(self, door: page_of_runs.Door, board: Board, **limits: Any) -> None:
        self._board = board
        self._files = {path: (file_of(package, name), kind) for path, (package, name, kind) in _FILES.items()}
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(board))
        options = door.options
        gate = Gate(
            self._app(),
            Hosts.of(options.address.host, (door.host, *options.hosts)),
            door.key,
            f"fer_edge_fleet_{door.port}",
            secure=door.tls is not None,
        )
        self.server = ServerThread(gate, door.listener, door.tls, _nothing, _nothing, **limits)

    def start(self) -> None:
        """Begin to serve."""
        self.server.start()

    def close(self) -> None:
        """End."""
        self.server.close(END_SECONDS)

    def _app(self) -> Starlette:
        answers: dict[str, Callable[[Request], Awaitable[Response]]] = {
            **dict.fromkeys(_FILES, self._file),
            "/api/devices": self._devices,
            "/healthz": self._health,
            "/metrics": self._metrics,
        }
        routes = [Route(path, answer, methods=["GET"]) for path, answer in answers.items()]
        app = Starlette(routes=routes, exception_handlers=HANDLERS)
        app.router.redirect_slashes = False
        return app

    async def _file(self, request: Request) -> Response:
        content, kind = self._files[request.url.path]
        return Response(content, media_type=kind)

    async def _devices(self, request: Request) -> Response:
        # A thousand devices take some milliseconds; other viewers are served meanwhile.
        return await asyncio.to_thread(lambda: as_json(self._board.snapshot()))

    async def _health(self, request: Request) -> Response:
        """Without names: it needs no token."""
        broker, database = self._board.broker is None, self._board.database is None
        told = {"ok": broker and database, "broker": broker, "store": database}
        return as_json(told, 200 if told["ok"] else 503)

    async def _metrics(self, request: Request) -> Response:
        body = await asyncio.to_thread(generate_latest, self._registry)
        return Response(body, headers={"content-type": METRICS_TYPE})


def _nothing() -> None:
    pass


_COUNTERS = {
    "messages": ("fer_edge_fleet_messages", "Messages that came."),
    "rows": ("fer_edge_fleet_rows", "Rows of minutes and visits that were written."),
    "doubles": ("fer_edge_fleet_doubles", "Rows that came and were there already."),
    "strangers": ("fer_edge_fleet_strangers", "Messages of devices above the most that are kept apart."),
}
_FAULTS = ("malformed", "oversized", "version")


class _Figures(Collector):
    """Sums over all devices: a thousand names would be a thousand series of each figure."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        told = self._board.snapshot()
        counts = told["counts"]
        for name, (metric, text) in _COUNTERS.items():
            yield CounterMetricFamily(metric, text, counts.get(name, 0))
        faults = CounterMetricFamily("fer_edge_fleet_faults", "Payloads that were refused.", labels=["kind"])
        for kind in _FAULTS:
            faults.add_metric([kind], counts.get(kind, 0))
        yield faults
        states = GaugeMetricFamily("fer_edge_fleet_devices", "Devices by their state.", labels=["state"])
        for state, count in sorted(told["states"].items()):
            states.add_metric([state], count)
        yield states
        devices = told["devices"]
        for key in ("missing", "lost"):
            yield GaugeMetricFamily(
                f"fer_edge_fleet_rows_{key}", f"Rows that are {key}.", sum(one[key] for one in devices)
            )
        for key, there in (("broker", told["broker"]["connected"]), ("store", told["store"]["writable"])):
            yield GaugeMetricFamily(f"fer_edge_fleet_{key}_up", f"1 where the {key} is there.", int(there))
