"""Run page, broker, Home Assistant, Prometheus and all files together, with faults; ``make together`` does.

python tools/together.py [FAULT ...] [--seconds 3600] [--cases demo stream] [--seed 1] [--json FILE]

A ``fer-edge run`` of the demo camera and one of an MJPEG camera on the network go on beside each other, each
with page, MQTT with password and discovery, metrics, store, JSON lines and video. Again and again the broker,
the camera, the disk and the readers fail, and the processes are stopped, paused, and read their
configuration anew. What is reported and kept is checked from outside: over HTTP, at the broker, in files, in
/proc. The exit code is 1 if a promise did not hold. It needs mosquitto, and root for the full disk.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import functools
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from faults import (
    Outcome,
    Record,
    check_quiet,
    check_records,
    check_segments,
    check_store,
    mounted,
    segments_in,
)
from soak import growth
from together_faults import FAULTS, discovered
from together_scene import (
    PREFIX,
    RESTED,
    TABLES,
    Camera,
    Device,
    Scene,
    arrived,
    await_each,
    await_rows,
    await_that,
    check_recovered,
    probe,
    take_sample,
    visit,
)

from fer_edge.outputs.mqtt.feed import to_payload

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from outputs.mosquitto import Mosquitto, passwords, reading

SILENCE = 15.0
"""Seconds without a frame after which a camera is lost, and ``/healthz`` says so."""

SLACK = 8.0
"""Seconds by which the tool itself may be late."""

SETTLED = 1500.0
"""Seconds after which memory is judged: until then, viewers and cameras that come and go fill the pools."""

DISK = "size=700m"
_PROCESS_FIGURES = "process_"


def check_health(device: Device, records: Sequence[Record], outcome: Outcome) -> None:
    """Hold each answer of ``/healthz`` against the frames that were recorded around it."""
    times = [record["monotonic"] for record in records if record["type"] == "frame"]
    losses = [record["monotonic"] for record in records if record["type"] == "gap" and record["lost"]]
    counts: Counter[int] = Counter()
    for one in device.probes:
        counts[one.status] += 1
        if not one.status or not times:
            continue
        at = bisect.bisect_right(times, one.asked)
        before = times[at - 1] if at else -float("inf")
        after = times[at] if at < len(times) else float("inf")
        if one.status == 503:
            # A frame is processed some time after it was read, seconds after it under load.
            around = [*times[max(bisect.bisect_left(times, before - SLACK) - 1, 0) : at], after]
            apart = max((later - earlier for earlier, later in itertools.pairwise(around)), default=after)
            outcome.check(
                bool(one.told.get("reason")) and apart > 0.5,
                f"{device.name}: /healthz 503 ({one.told}) between frames {apart:.2f} s apart",
            )
        # Frames of a disk that was full have no line.
        elif not one.told.get("paused") and not any(before <= loss <= after + SLACK for loss in losses):
            outcome.check(
                one.asked - before < SILENCE + SLACK or after - one.answered < SLACK,
                f"{device.name}: /healthz 200 {one.asked - before:.1f} s after the last frame",
            )
    outcome.kept |= {
        f"{device.name}: /healthz {status or 'no answer'}": counts[status] for status in sorted(counts)
    }
    outcome.injected += len(device.probes)


def check_rows(scene: Scene, device: Device, outcome: Outcome) -> None:
    """Check that each finished row came in order, unchanged, once but for duplicates of one ``seq``."""
    for table in TABLES:
        rows = {row["seq"]: row for row in device.rows(table)}
        came = arrived(scene, device, table)
        seqs = [row["seq"] for row in came]
        first = list(dict.fromkeys(seqs))
        outcome.kept |= {
            f"{device.name}: {table}": len(rows),
            f"{device.name}: doubles of {table}": len(seqs) - len(first),
        }
        outcome.injected += len(rows)
        missing = sorted(set(rows) - set(first) - device.answered[table])
        outcome.check(not missing, f"{device.name}: {table} {missing[:20]} did not come")
        outcome.check(first == sorted(first), f"{device.name}: {table} came out of order: {first}")
        outcome.check(set(first) <= set(rows), f"{device.name}: {table} came that are not in the store")
        stores = {row["store"] for row in came}
        outcome.check(len(stores) <= 1, f"{device.name}: rows of stores {stores}")
        for row in came:
            kept = json.loads(to_payload(rows.get(row["seq"], {})))
            other = {key: (row.get(key), kept[key]) for key in kept if row.get(key) != kept[key]}
            outcome.check(not other, f"{device.name}: {table} {row['seq']} differs from the store: {other}")


def check_figures(device: Device, records: Sequence[Record], outcome: Outcome) -> None:
    """Hold the last figures for Prometheus against the JSON lines."""
    frames = [record for record in records if record["type"] == "frame"]
    lost = sum(record["lost"] for record in records if record["type"] == "gap")
    # Times without a camera: neither lines that are missing, nor pauses.
    gaps = sum(
        record["type"] == "gap" and not record["lost"] and record["seconds"] > record["paused"]
        for record in records
    )
    told = device.figure("fer_edge_frames_total")
    outcome.injected += len(device.scrapes)
    outcome.kept |= {
        f"{device.name}: frames": told,
        f"{device.name}: lines": len(frames),
        f"{device.name}: lost lines": lost,
    }
    outcome.check(
        told == len(frames) + lost,
        f"{device.name}: /metrics has {told} frames, {len(frames)} lines, {lost} lost",
    )
    buckets = device.figure("fer_edge_inference_seconds_count")
    outcome.check(buckets == told, f"{device.name}: the histogram has {buckets} of {told} frames")
    faces, lines = device.figure("fer_edge_faces_total"), sum(len(record["faces"]) for record in frames)
    outcome.check(lines <= faces <= lines + lost, f"{device.name}: {faces} faces, {lines} in lines")
    count = device.figure("fer_edge_gaps_total")
    outcome.check(gaps <= count <= gaps + lost, f"{device.name}: {count:g} gaps, {gaps} in lines")
    numbers = [record["frame"] for record in frames]
    outcome.check(numbers == sorted(set(numbers)), f"{device.name}: frames are not in order")
    outcome.problems += device.problems


def check_by_promtool(device: Device, outcome: Outcome) -> None:
    """Let Prometheus' own tool read the figures, where it is installed."""
    if not shutil.which("promtool"):
        return
    body = device.ask("/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    told = [line for line in done.stderr.decode().splitlines() if _PROCESS_FIGURES not in line]
    outcome.check(bool(body) and not told, f"{device.name}: promtool: {told}")


def check_growth(device: Device, most: float, outcome: Outcome) -> None:
    """Check that the process has stopped growing once it has settled, if the run is long enough."""
    samples = [one for one in device.samples if one.seconds > SETTLED]
    if len(samples) < 8:
        return
    quarter = len(samples) // 4
    first, last = samples[:quarter], samples[-quarter:]
    rss = growth(samples).rss / 1e6
    outcome.injected += len(samples)
    outcome.kept |= {
        f"{device.name}: MB": round(last[-1].rss / 1e6, 2),
        f"{device.name}: MB grown": round(rss, 2),
        f"{device.name}: threads": max(one.threads for one in last),
        f"{device.name}: descriptors": max(one.descriptors for one in last),
    }
    outcome.check(rss < most, f"{device.name}: {rss:+.2f} MB")
    # One connection or file more or less is chance.
    for name, of in {"threads": lambda one: one.threads, "descriptors": lambda one: one.descriptors}.items():
        before, after = max(map(of, first)), min(map(of, last))
        outcome.check(after <= before, f"{device.name}: {before} {name} at most, then {after} at least")


def finish(scene: Scene, outcomes: Mapping[str, Outcome], most: float) -> None:
    """End the runs, and look at what is left."""
    scene.calm.set()
    rows = outcomes["rows"]
    for device in scene.devices:
        # Paused, so that nothing changes any more; the next run then has to be paused as well.
        device.ask("/api/pause", {"paused": True}, 30)
    await_each(
        scene.devices,
        lambda device: device.camera().get("state") == "paused",
        "the page says paused",
        outcomes["page pause"],
    )
    time.sleep(RESTED)
    scene.over.set()
    for device in scene.devices:
        _end(scene, device, outcomes, most)
    for device in scene.devices:
        # What was not confirmed in time comes with the next run.
        device.run.__exit__()
        device.configure()
        device.run = device.start()
        for table in TABLES:
            await_rows(scene, device, table, rows)
    await_each(
        scene.devices,
        lambda device: device.camera().get("state") == "paused",
        "the next run is paused as well",
        outcomes["page pause"],
    )
    for device in scene.devices:
        device.run.ended()
        check_rows(scene, device, rows)
    with reading(scene.broker, client_id="other") as other:
        time.sleep(RESTED)
        kept = {one.topic: one.payload for one in other.messages if one.retain}
    for device in scene.devices:
        told = kept.get(f"fer-edge/{device.name}/availability")
        rows.check(told == b"stopped", f"{device.name}: availability after the end: {told!r}")
    left = [topic for topic in kept if topic.startswith(PREFIX)]
    rows.check(not left, f"announcements are retained: {left}")
    rows.kept["asked for"] = scene.asked_again


def _end(scene: Scene, device: Device, outcomes: Mapping[str, Outcome], most: float) -> None:
    """End the run of a device, which is paused, and look at what it has left."""
    figures, files = outcomes["figures"], outcomes["files"]
    await_that(lambda: device.scrape() is not None, f"{device.name}: /metrics at the end", figures)
    shown = device.told("/api/store?table=minutes") or {}
    figures.check(
        [row["seq"] for row in shown.get("rows", [])] == [row["seq"] for row in device.rows("minutes")],
        f"{device.name}: the page has other minutes than the store",
    )
    check_by_promtool(device, figures)
    check_growth(device, most, outcomes["needs"])
    mark = scene.mark
    code = device.run.ended()
    failed = outcomes["full disk"].injected > 0
    check_quiet(device.run, code, (1,) if failed else (0,), files, f"{device.name}: ")
    await_that(
        lambda: scene.said(mark, device, "availability") == [b"stopped"],
        f"{device.name}: stopped at the broker, and nothing else",
        outcomes["rows"],
    )
    files.check(not device.metrics_file.exists(), f"{device.name}: {device.metrics_file.name} is left")
    own = Outcome(injected=len(device.lines))
    records = device.records(own)
    check_records(records, device.name, own)
    check_store(device.store, own)
    check_segments(segments_in(device.folder), own)
    files.injected += own.injected
    files.problems += own.problems
    files.kept |= {f"{device.name}: {figure}": value for figure, value in own.kept.items()}
    check_figures(device, records, figures)
    check_health(device, records, outcomes["health"])


def together(
    faults: Sequence[str], seconds: float, cases: Sequence[str], seed: int, most: float, folder: Path
) -> tuple[dict[str, Outcome], Scene]:
    """Run for so many seconds, and at least for one round of all faults; return what became of it."""
    place = folder / "broker"
    place.mkdir()
    # mosquitto drops root privileges, and could then not read our files.
    for one in (folder, place):
        one.chmod(0o755)
    password = passwords(place)
    lines = ["allow_anonymous false", f"password_file {place / 'passwords'}"]
    if os.geteuid() == 0:
        lines.append("user root")
    mosquitto = Mosquitto(place, lines)
    secret = password.read_text().strip()
    broker = replace(mosquitto.place, user="shop", password=secret)
    outcomes = {name: Outcome() for name in (*FAULTS, "rows", "health", "figures", "files", "needs")}
    visitors: Counter[str] = Counter()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        stack.callback(mosquitto.kill)
        reader = stack.enter_context(reading(broker))
        camera = Camera()
        stack.callback(camera.pull)
        devices = []
        for name in cases:
            disk, is_small = folder / name, os.geteuid() == 0
            disk.mkdir()
            if is_small:
                stack.enter_context(mounted(disk, "-t", "tmpfs", "-o", DISK, "none"))
            source = 'camera = "demo"' if name == "demo" else f'source = "{camera.url}"'
            device = Device(name, source, disk, broker, password, is_small)
            devices.append(device)
            stack.callback(_end_run, device)
        scene = Scene(seconds, mosquitto, broker, reader, camera, devices, random.Random(seed))
        for device in devices:
            device.run.wait_for(functools.partial(_is_well, device), "page")
            check_recovered(device, outcomes["health"])
        await_each(devices, lambda device: discovered(scene, device, 0), "announced", outcomes["rows"])
        threads = [threading.Thread(target=probe, args=(scene,))]
        threads += [threading.Thread(target=visit, args=(scene, visitors)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            stack.callback(thread.join)
        stack.callback(scene.over.set)
        for rounds in itertools.count():
            for name in faults or FAULTS:
                if rounds and time.monotonic() - began > seconds:
                    break
                if name == "full disk" and os.geteuid() != 0:
                    continue
                if name == "camera lost" and "stream" not in cases:
                    continue
                time.sleep(scene.lasting(15, 2))
                took = time.monotonic()
                outcome, known = outcomes[name], len(outcomes[name].problems)
                try:
                    FAULTS[name](scene, outcome)
                except RuntimeError as error:
                    outcome.problems.append(str(error))
                scene.turns[name] += 1
                at, took = time.monotonic() - began, time.monotonic() - took
                print(
                    f"{at:7.0f} s  {name}: {took:.0f} s, {len(outcome.problems) - known} problems", flush=True
                )
                for problem in outcome.problems[known:]:
                    print(f"           {problem}", flush=True)
                for device in devices:
                    code = device.run.process.poll()
                    if code is not None:
                        last = device.run.messages[-2000:]
                        raise RuntimeError(f"{device.name}: the run has ended with exit code {code}:\n{last}")
                take_sample(scene, began)
            else:
                continue
            break
        try:
            finish(scene, outcomes, most)
        except Exception as error:  # problems found until now are to be printed
            traceback.print_exc()
            outcomes["files"].problems.append(repr(error))
        outcomes["health"].kept |= {f"visits: {way}": count for way, count in sorted(visitors.items())}
    return outcomes, scene


def _is_well(device: Device) -> bool:
    return device.health().status == 200


def _end_run(device: Device) -> None:
    device.run.__exit__()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print what was injected and kept; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="default: %(default)s")
    parser.add_argument("--cases", nargs="+", choices=("demo", "stream"), default=["demo", "stream"])
    parser.add_argument("--seed", type=int, default=1, help="of those who come and go (default: %(default)s)")
    parser.add_argument(
        "--growth", type=float, default=4.0, help="MB that memory may grow (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args(arguments)
    unknown = set(given.faults) - set(FAULTS)
    if unknown:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}; choose from {', '.join(FAULTS)}")
    # Under nohup the runs would inherit that SIGHUP is ignored, with which they are asked to reload.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fer-edge-together-") as folder:
        outcomes, scene = together(
            given.faults, given.seconds, given.cases, given.seed, given.growth, Path(folder)
        )
    print(f"\n{time.monotonic() - began:.0f} s; injected or looked at, times")
    for name, outcome in outcomes.items():
        times = f" in {scene.turns[name]} turns" if name in FAULTS else ""
        print(f"{name:<16}{outcome.injected:>7}{times}, {len(outcome.problems)} problems")
        for figure, value in outcome.kept.items():
            print(f"{'':<16}{figure}: {value:g}")
        for problem in outcome.problems:
            print(f"{'':<16}PROBLEM {problem}")
    for device in scene.devices:
        print(f"{device.name}: {'seconds':>9}{'frames':>9}{'MB':>8}{'threads':>9}{'descriptors':>13}")
        for one in device.samples[:: max(1, len(device.samples) // 12)]:
            needs = f"{one.rss / 1e6:>8.2f}{one.threads:>9}{one.descriptors:>13}"
            print(f"{'':<{len(device.name)}}  {one.seconds:>9.0f}{one.frames:>9}{needs}")
    if given.json:
        told = {
            "outcomes": {name: asdict(outcome) for name, outcome in outcomes.items()},
            "samples": {device.name: [asdict(one) for one in device.samples] for device in scene.devices},
            "probes": {device.name: [asdict(one) for one in device.probes] for device in scene.devices},
        }
        given.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(any(outcome.problems for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
