"""What each output costs a run: frames a second, CPU time, memory, and bytes a day.

The demo camera is read unpaced in one process, with one output after the other; each part is compared with
the part of its round without any output. "by CPU time" compares frames for each second of CPU time of the
process, all its threads together, which other load hardly changes. Page and MQTT keep a
store, as they do in a run. Memory is that of a process of its own with that output, less that of one without.
Bytes are those of a run of the demo camera at its usual rate with all outputs at once. It needs
mosquitto.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from page_viewers import asked, viewers

import fer_edge
from fer_edge.commands._beside import Beside, OpenRun, add_all
from fer_edge.commands._live import live_of, metrics_of
from fer_edge.commands._mqtt import broker_for
from fer_edge.commands._outputs import open_outputs, watched
from fer_edge.commands._page import open_door
from fer_edge.config import OPTIONS, load
from fer_edge.control.control import Control
from fer_edge.outputs.base import Losses, Outputs
from fer_edge.pipeline.result import FrameResult
from fer_edge.pipeline.watch import Watch

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from outputs.mosquitto import Mosquitto, Reader, await_true, reading

PARTS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "jsonl": ("jsonl",),
    "store": ("store",),
    "video": ("save_video",),
    "metrics file": ("metrics",),
    "page": ("page",),
    "page, 1 looks on": ("page",),
    "mqtt": ("mqtt", "mqtt_name", "mqtt_discovery"),
    "mqtt, pictures": ("mqtt", "mqtt_name", "mqtt_discovery", "mqtt_camera"),
    "all": (
        *("jsonl", "store", "save_video", "metrics", "page"),
        *("mqtt", "mqtt_name", "mqtt_discovery", "mqtt_camera"),
    ),
}
"""Options of each part; the last one has a viewer, too."""

_LOOKED_AT = ("page, 1 looks on", "all")
_SETTLE = 1.0
"""Seconds before each part is measured, at most as long as it is measured."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.5, help="of each part (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="times each part is run (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=2, help="processes of each part, for memory (default: %(default)s)"
    )
    parser.add_argument(
        "--run-seconds", type=float, default=12, help="of each of these processes (default: %(default)s)"
    )
    parser.add_argument(
        "--bytes-seconds", type=float, default=130, help="of the run whose bytes are counted (%(default)s)"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # mosquitto drops root privileges, and could then not read our files.
        folder.chmod(0o755)
        (folder / "broker").mkdir()
        broker = Mosquitto(folder / "broker", ["allow_anonymous true", "sys_interval 1"])
        stack.callback(broker.kill)
        figures = cost(args, folder, broker)
        memory = resident(args.runs, args.run_seconds, folder, broker)
        rows = [
            {**row(spans, figures["none"]), "part": name, "memory_mb": round(memory[name], 1)}
            for name, spans in figures.items()
        ]
        written = amounts(args.bytes_seconds, folder, broker) if args.bytes_seconds else []
    if args.json:
        print(json.dumps({"cost": rows, "bytes": written}))
        return 0
    print(f"{'part':<18}{'fps':>7}{'of none':>9}{'by CPU time':>13}{'ms CPU a frame':>16}{'memory':>11}")
    for one in rows:
        shares = f"{one['fps_share']:>9.1%}{one['cpu_fps_share']:>13.1%}{one['cpu_ms']:>16.2f}"
        print(f"{one['part']:<18}{one['fps']:>7.1f}{shares}{one['memory_mb']:>+8.1f} MB")
    if written:
        print(f"\n{'what':<34}{'bytes':>12}{'of':>18}{'MB a day':>12}")
    for amount in written:
        print(f"{amount['what']:<34}{amount['bytes']:>12.0f}{amount['of']:>18}{amount['mb_a_day']:>12.1f}")
    return 0


@dataclass(frozen=True)
class Span:
    """What was measured in a part of a round."""

    fps: float
    cpu_seconds: float
    """Of a frame."""


def row(spans: list[Span], alone: list[Span]) -> dict[str, Any]:
    """Medians over the rounds."""
    shares = [span.fps / before.fps for span, before in zip(spans, alone, strict=True)]
    cpu = [before.cpu_seconds / span.cpu_seconds for span, before in zip(spans, alone, strict=True)]
    return {
        "fps": round(statistics.median(span.fps for span in spans), 1),
        "fps_share": round(statistics.median(shares), 4),
        "cpu_fps_share": round(statistics.median(cpu), 4),
        "cpu_ms": round(1000 * statistics.median(span.cpu_seconds for span in spans), 3),
    }


def settings(part: str, folder: Path, broker: Mosquitto) -> dict[str, str]:
    """The options of a part by name, with values as flags and variables have them."""
    values = {
        "jsonl": str(folder / "log.jsonl"),
        "store": str(folder / "shop.db"),
        "save_video": str(folder / "door.mkv"),
        "metrics": str(folder / "fer-edge.prom"),
        "page": "127.0.0.1:0",
        "mqtt": f"mqtt://{broker.place.place}",
        "mqtt_name": "cost",
        "mqtt_discovery": "homeassistant",
        "mqtt_camera": "blurred",
    }
    return {name: values[name] for name in PARTS[part]} | {"state_folder": str(folder / "state")}


def cost(args: argparse.Namespace, folder: Path, broker: Mosquitto) -> dict[str, list[Span]]:
    """What each part was like, in every round."""
    figures: dict[str, list[Span]] = {name: [] for name in PARTS}
    with fer_edge.watch("demo", colour=True, unpaced=True) as run, reading(broker.place) as reader:
        settle = min(_SETTLE, args.seconds)
        span(run, None, settle)
        for count in range(args.rounds):
            for name in PARTS:
                own = folder / f"{count}-{name.replace(' ', '-').replace(',', '')}"
                (own / "state").mkdir(parents=True)
                with opened(name, run, own, broker, reader) as write:
                    span(run, write, settle)
                    figures[name].append(span(run, write, args.seconds))
    return figures


@contextlib.contextmanager
def opened(
    part: str, run: Watch, folder: Path, broker: Mosquitto, reader: Reader
) -> Iterator[Callable[[FrameResult], None]]:
    """Open the outputs of a part, with a viewer if it has one; returns what takes each result."""
    given = {f"FER_EDGE_{name.upper()}": text for name, text in settings(part, folder, broker).items()}
    config = load({}, given).config
    cameras = watched(config, run)
    beside, mark = Beside(), len(reader.messages)
    with contextlib.ExitStack() as stack:
        door, control = open_door(config, stack), Control(run)
        figures = live_of(config, cameras, control.snapshot)

        def losses() -> Mapping[str, Losses]:
            return outputs.losses

        shown = OpenRun(
            config=config,
            cameras=cameras,
            control=control,
            summary=lambda: run.summary,
            losses=losses,
            live=True,
            silence=lambda: 10.0,
            door=door,
            figures=figures,
            metrics=metrics_of(config, figures, cameras, losses),
            broker=broker_for(config, cameras),
        )
        files = open_outputs(config, cameras)
        add_all(beside, shown)
        # What a run shows on the terminal is no output here.
        outputs = Outputs(beside.direct, [*files.slow.values(), *beside.slow], live=False)
        stack.callback(outputs.close)
        beside.start(stack)
        if door and part in _LOOKED_AT:
            stack.enter_context(viewers(door.port, 1, 0))
        if shown.broker:
            await_true(lambda: any(one.payload == b"online" for one in reader.messages[mark:]))

        def write(result: FrameResult) -> None:
            beside.take(result)
            outputs.write(result)

        yield write


def span(run: Watch, write: Callable[[FrameResult], None] | None, seconds: float) -> Span:
    """Recognize for so many seconds."""
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    for result in run:
        if write is not None:
            write(result)
        count += 1
        if time.perf_counter() - began >= seconds:
            break
    return Span(count / (time.perf_counter() - began), (time.process_time() - cpu) / count)


def command(part: str, folder: Path, broker: Mosquitto, *more: str) -> list[str]:
    """A run with the outputs of a part."""
    flags = [f"{OPTIONS[name].flag}={value}" for name, value in settings(part, folder, broker).items()]
    return [sys.executable, "-m", "fer_edge", "run", "--camera", "demo", *flags, *more]


def resident(runs: int, seconds: float, folder: Path, broker: Mosquitto) -> dict[str, float]:
    """MB that a process with a part needs more than one without, each the least of some runs."""
    found: dict[str, list[float]] = {name: [] for name in PARTS}
    for count in range(runs):
        for name in PARTS:
            own = folder / f"memory-{count}-{name.replace(' ', '-').replace(',', '')}"
            own.mkdir()
            looks, film = looked_at(name, own, broker, seconds)
            if name in _LOOKED_AT and not film.pictures:
                raise RuntimeError(f"{name}: nobody looked on")
            # At the start, the demo camera needs more than later.
            found[name].append(statistics.median(look.rss for look in looks[-8:]) / 1e6)
    return {name: min(some, default=0.0) - min(found["none"], default=0.0) for name, some in found.items()}


@dataclass(frozen=True)
class Look:
    """What is seen of a run from outside."""

    at: float
    """Seconds of the monotonic clock."""
    rss: int
    """Bytes of resident memory."""
    written: int
    """Bytes that it gave to ``write`` so far; those to sockets are none of them."""
    figures: int
    """Bytes of the file for Prometheus."""


def looked_at(part: str, folder: Path, broker: Mosquitto, seconds: float) -> tuple[list[Look], Film]:
    """Run the demo camera at its usual rate with the outputs of a part, and look at it."""
    process = subprocess.Popen(
        command(part, folder, broker, "--seconds", f"{seconds:g}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    looks, film = [], Film()
    reader = threading.Thread(target=film.look_on, args=(process.stderr, part in _LOOKED_AT))
    reader.start()
    while process.poll() is None:
        # It may just have ended.
        with contextlib.suppress(OSError, ValueError):
            status, io = _figures(process.pid, "status"), _figures(process.pid, "io")
            file = folder / "fer-edge.prom"
            size = file.stat().st_size if file.exists() else 0
            looks.append(
                Look(time.monotonic(), 1024 * int(status["VmRSS"].split()[0]), int(io["wchar"]), size)
            )
        time.sleep(0.25)
    reader.join()
    if process.returncode:
        raise RuntimeError(f"the run with {part}: exit code {process.returncode}")
    return looks, film


def _figures(process: int, name: str) -> dict[str, str]:
    lines = Path(f"/proc/{process}/{name}").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    if name == "status" and "VmRSS" not in found:
        raise ValueError("it has ended")
    return found


def port_of(line: str) -> int:
    """The port in ``page on http://127.0.0.1:8080/``."""
    return int(line.partition("page on http://")[2].partition(":")[2].partition("/")[0])


def amounts(seconds: float, folder: Path, broker: Mosquitto) -> list[dict[str, Any]]:
    """The bytes of each output in a run with all of them, and what they make in a day."""
    own, alone = folder / "bytes", folder / "bytes-of-the-store"
    own.mkdir()
    alone.mkdir()
    with reading(broker.place, filters=("fer-edge/#",), client_id="counter") as reader:
        looks, film = looked_at("all", own, broker, seconds)
        told = [(one.topic.rpartition("/")[2], len(one.payload)) for one in reader.messages if not one.retain]
    lines = own / "log.jsonl"
    summary = json.loads(lines.read_text().splitlines()[-1])["summary"]
    recorded = sum(path.stat().st_size for path in own.glob("door*.mkv"))
    # Its journal is written over again and again: its size tells nothing. At the start, the store is made.
    stored, _ = looked_at("store", alone, broker, seconds)
    first, last = stored[len(stored) // 4], stored[-1]
    kept = (last.written - first.written) / (last.at - first.at) * 60
    some = [
        ("jsonl", lines.stat().st_size / summary["frames"], "frame"),
        ("video", recorded / summary["frames"], "frame"),
        ("store, with its journal", kept, "minute"),
        # It is removed at the end.
        ("metrics file", max(look.figures for look in looks), "15 s"),
        ("page, a viewer of the film", film.bytes / max(film.pictures, 1), "picture"),
    ]
    for topic, unit in {"state": "5 s", "picture": "5 s", "minutes": "minute"}.items():
        sizes = [size for name, size in told if name == topic]
        some += [(f"mqtt, {topic}", statistics.mean(sizes), unit)] if sizes else []
    return [
        {"what": what, "bytes": round(count), "of": f"a {unit}", "mb_a_day": count * _A_DAY[unit] / 1e6}
        for what, count, unit in some
    ]


_A_DAY = {"frame": 30 * 86_400, "picture": 10 * 86_400, "5 s": 17_280, "15 s": 5_760, "minute": 1_440}
"""How many there are in a day: frames as the demo camera gives them, pictures as the page sends them."""


class Film:
    """What somebody gets who looks on."""

    def __init__(self) -> None:
        self.bytes = self.pictures = 0

    def look_on(self, messages: IO[str], look: bool) -> None:
        """Read the ``messages`` of a run and, where wanted, the film of the page that they tell of."""
        for line in messages:
            if look and "page on http" in line:
                threading.Thread(target=self._read, args=(port_of(line),), daemon=True).start()

    def _read(self, port: int) -> None:
        with asked(port) as connection, connection.makefile("rb") as stream:
            for line in stream:
                self.bytes += len(line)
                self.pictures += line.startswith(b"Content-Length: ")


if __name__ == "__main__":
    sys.exit(main())
