"""Opening the outputs that a configuration asks for, and knowing them again when it is read anew."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..config import Config
from ..errors import DataError, printable
from ..files import check_target, is_folder, is_special, refuse_input, resolved

if TYPE_CHECKING:
    from ..outputs.base import Output, SlowOutput
    from ..outputs.jsonl import Mode
    from ..outputs.store import StoreOutput
    from ..pipeline.watch import Watch
    from ..pipeline.watch_all import WatchAll
    from ..sources.base import Source
    from ..store.events import ListedEvent


@dataclass(frozen=True)
class Watched:
    """A camera or other source, and the outputs that are its own."""

    config: Config
    watch: Watch
    name: str | None = None
    """Among several; ``None`` for the only one."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.watch.source.name if self.name is None else self.name


def watched(config: Config, results: Watch | WatchAll) -> list[Watched]:
    """The cameras of a run, with the configuration of each."""
    from ..pipeline.watch import Watch

    if isinstance(results, Watch):
        return [Watched(config, results)]
    return [Watched(one.config, results.watches[one.name], one.name) for one in config.cameras]


Written = frozenset[tuple[str, Path]]
"""Names of outputs, each with a file or folder of its own."""


@dataclass(frozen=True)
class Opened:
    """The outputs of a run, each by what makes it another one."""

    direct: Mapping[Hashable, Output] = field(default_factory=dict)
    """Written at once."""
    slow: Mapping[Hashable, SlowOutput] = field(default_factory=dict)
    """With a thread each."""
    written: Written = frozenset()
    """JSON lines and pictures that the run has written until now, outputs that are finished included."""
    begun: set[Path] = field(default_factory=set)
    """Videos of films, each added when its file is begun, which comes later than its output."""

    @property
    def store(self) -> StoreOutput | None:
        """The store, where there is one."""
        # Its class would load SQLite.
        stores = [one for one in self.slow.values() if one.name == "store"]
        return cast("StoreOutput", stores[0]) if stores else None


def open_outputs(config: Config, cameras: Sequence[Watched], before: Opened | None = None) -> Opened:
    """Open what ``config`` and the ``cameras`` ask for; of what was open ``before`` all that stays the same.

    Files that the run has written are continued, and none of its pictures is lost, also with ``force``.
    Raises :class:`~fer_edge.errors.DataError` for an output that cannot be opened, would replace an input, or
    is one file with another; nothing that was open before is touched then.
    """
    before = before or Opened()
    for camera in cameras:
        _refuse_misfits(camera)
    if config.store and len({camera.watch.source.live for camera in cameras}) > 1:
        raise DataError("--store: cameras and films need separate runs, since their times differ")
    if config.metrics:
        check_target(config.metrics, force=True)
    _refuse_conflicts(config, cameras)
    with contextlib.ExitStack() as undoing:
        direct = dict(_open(_direct(config, cameras), before.direct, undoing))
        slow = dict(_open(_slow(config, cameras, before.written, before.begun), before.slow, undoing))
        undoing.pop_all()
    return Opened(direct, slow, before.written.union(_written(config, cameras)), before.begun)


T = TypeVar("T", bound="Output | SlowOutput")

Wanted = Iterator[tuple[Hashable, Callable[[], T]]]
"""Outputs, each with what makes it another one, and how it is opened."""


def _open(
    wanted: Wanted[T], before: Mapping[Hashable, T], undoing: contextlib.ExitStack
) -> Iterator[tuple[Hashable, T]]:
    for key, make in wanted:
        if key not in before:
            output = make()
            undoing.callback(output.close)
            yield key, output
        else:
            yield key, before[key]


def _direct(config: Config, cameras: Sequence[Watched]) -> Wanted[Output]:
    from ..outputs.console import ConsoleOutput
    from ..outputs.window import WindowOutput
    from ..service import journal

    sources = [camera.watch.source for camera in cameras]
    related = any(source.related for source in sources)
    named = cameras[0].name is not None
    if config.window:
        yield (
            ("window", config.unsure),
            partial(WindowOutput, wait=not related, unsure=config.unsure, named=named),
        )
    # STATUS= says that it works; who looked how, minute by minute, is nothing for the system's journal.
    if not gives_lines(config) and not journal.reads(sys.stdout):
        yield (
            ("console", config.unsure),
            partial(
                ConsoleOutput,
                every_frame=not related,
                live=any(source.live for source in sources),
                unsure=config.unsure,
                named=named,
            ),
        )


def gives_lines(config: Config) -> bool:
    """Whether JSON lines, of all cameras or of one, go to standard output, which no other text may."""
    return "-" in (config.jsonl, *(camera.config.jsonl for camera in config.cameras))


def _slow(
    config: Config, cameras: Sequence[Watched], written: Written, begun: set[Path]
) -> Wanted[SlowOutput]:
    for camera in cameras:
        for key, make in _pictures(camera, written, begun):
            yield (camera.name, key), partial(_of_camera, camera, make)
    if config.store:
        yield ("store", config.store), partial(_store, config, cameras)
    # Last, since opening them may empty a file, and what cannot be opened is found out by then.
    for camera in cameras:
        if camera.name is not None and camera.config.jsonl:
            lines = partial(_json_lines, camera.config, [camera], written)
            yield (
                (camera.name, "jsonl", camera.config.jsonl, *_kept(camera.config)),
                partial(_of_camera, camera, lines),
            )
    if config.jsonl:
        yield ("jsonl", config.jsonl, *_kept(config)), partial(_json_lines, config, cameras, written)


def _kept(config: Config) -> tuple[Hashable, ...]:
    return (*config.keep_files, config.keep_free) if config.keep_files else ()


def _written(config: Config, cameras: Sequence[Watched]) -> Iterator[tuple[str, Path]]:
    own = [camera.config for camera in cameras]
    files = [("jsonl", one.jsonl) for one in (config, *own)]
    files += [("image", one.save_image) for one in own]
    for name, file in files:
        if file and file != "-":
            yield name, resolved(file)


def _pictures(camera: Watched, written: Written, begun: set[Path]) -> Wanted[SlowOutput]:
    from ..outputs.image import ImageOutput
    from ..outputs.keeping import Limits
    from ..outputs.video import VideoOutput

    config, source = camera.config, camera.watch.source
    keep = Limits.of(config.keep_files, config.keep_free)
    if config.save_video:
        yield (
            ("video", config.save_video, config.segment, config.unsure, keep),
            partial(
                VideoOutput,
                config.save_video,
                source.live,
                source.fps,
                config.segment,
                config.force,
                config.unsure,
                keep,
                begun,
            ),
        )
    if config.save_image:
        # A file gets the last picture again; those in a folder are not written again.
        force = config.force or ("image", resolved(config.save_image)) in written
        yield (
            ("image", config.save_image, config.unsure),
            partial(ImageOutput, config.save_image, source.paths, force, config.unsure, _root(source)),
        )


def _of_camera(camera: Watched, make: Callable[[], SlowOutput]) -> SlowOutput:
    output = make()
    if camera.name is not None:
        output.camera, output.live = camera.name, camera.watch.source.live
    return output


def _json_lines(config: Config, cameras: Sequence[Watched], written: Written) -> SlowOutput:
    from ..outputs.jsonl import JsonLinesOutput
    from ..outputs.keeping import Limits

    assert config.jsonl is not None
    own = config.jsonl != "-" and ("jsonl", resolved(config.jsonl)) in written
    mode: Mode = "append" if config.append or own else "overwrite" if config.force else "new"
    keep = Limits.of(config.keep_files, config.keep_free)
    return JsonLinesOutput(config.jsonl, mode, [_start(camera.watch) for camera in cameras], keep)


def _store(config: Config, cameras: Sequence[Watched]) -> SlowOutput:
    # With SQLite it takes 3 MB, which a run without a store need not have.
    from ..outputs.store import StoreOutput

    assert config.store is not None
    watches = [camera.watch for camera in cameras]
    starts = [_start(watch) for watch in watches]
    return StoreOutput(
        config.store,
        watches[0].source.live,
        lambda: max(watch.options.longest_pause(watch.source) for watch in watches),
        config.keep,
        config.keep_detail,
        starts[0] if len(starts) == 1 else starts,
        events=_events(config.events, watches[0].source.live) if config.events else (),
        title=printable(Path(config.events or "").stem),
    )


def _events(path: str, live: bool) -> list[ListedEvent]:
    """What is shown when; raises DataError for what does not fit the source, before that is watched."""
    from ..store.events import placed, read_events

    events = read_events(path)
    try:
        placed(events, 0, 0 if live else None)
    except DataError as error:
        raise DataError(f"{path}, {error}") from error
    return events


def _start(watch: Watch) -> dict[str, Any]:
    from .. import __version__
    from ..outputs.jsonl import start_to_json

    classifier, options = watch.recognizer.classifier, dataclasses.asdict(watch.options)
    model = {
        "name": classifier.model,
        "backend": classifier.backend,
        "precision": classifier.precision,
        "labels": classifier.labels,
    }
    source = watch.source
    return start_to_json(__version__, source.name, watch.camera, source.live, model, options)


def _refuse_misfits(camera: Watched) -> None:
    """Raise DataError where an output does not fit the source."""
    from ..outputs.image import path_in

    config, source = camera.config, camera.watch.source
    if config.save_video and not source.related:
        raise DataError(f"--save-video: {source.name} is no video; use --save-image")
    if config.page and not source.related:
        # It keeps a store by itself: that one was not asked for.
        raise DataError(f"--page: {source.name} has no time in which somebody could look; use --save-image")
    if config.store and not source.related:
        raise DataError(f"--store: {source.name} has no times, so nobody can be tracked; use --jsonl")
    if config.save_image and is_folder(config.save_image):
        if source.related:
            raise DataError(
                f"--save-image: {config.save_image} is a folder, which is for images; give a file"
            )
        inputs = _inputs(camera)
        target, root = Path(config.save_image), _root(source)
        inside = root is not None and target.resolve().is_relative_to(root.resolve())
        for path in source.paths:
            parent = path.parent.resolve()
            if parent == target.resolve() or (inside and parent.is_relative_to(target.resolve())):
                raise DataError(f"--save-image: {config.save_image} holds the input; choose another folder")
            refuse_input(path_in(target, path, root), inputs)


def _root(source: Source) -> Path | None:
    """The folder whose images ``source`` gives."""
    return Path(source.name) if source.paths and Path(source.name).is_dir() else None


def _refuse_conflicts(config: Config, cameras: Sequence[Watched]) -> None:
    """Raise DataError where an output would replace an input, or two outputs are one file."""
    inputs = [path for camera in cameras for path in _inputs(camera)]
    own = [camera.config for camera in cameras]
    files = [name for one in own for name in (one.save_video, one.save_image)]
    files += [one.jsonl for one in own if one is not config] + [config.jsonl, config.store, config.metrics]
    targets = [target for target in files if target and target != "-"]
    for target in targets:
        refuse_input(target, inputs)
    named = [resolved(target) for target in targets if not is_special(target)]
    for first, second in itertools.combinations(named, 2):
        if first == second:
            raise DataError(f"{first}: two outputs cannot be the same file")


def _inputs(camera: Watched) -> list[Path]:
    """The files that a run reads."""
    from ..sources.urls import path_of

    config, source = camera.config, camera.watch.source
    models = (config.watch.model, config.watch.detector_model)
    return [
        *(source.paths or ([Path(path_of(config.source))] if config.source else [])),
        *([Path(config.events)] if config.events else []),
        *(Path(model) for model in models if model and Path(model).is_file()),
    ]
