"""What tests share: drawn faces, CSV files made of them, the development data where it is there."""

from __future__ import annotations

import atexit
import contextlib
import csv
import errno
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# One thread for PyTorch, also in processes that tests start: results do not depend on the machine, and
# threads that wait for a busy core cost more than they save. Read when PyTorch is loaded.
os.environ["OMP_NUM_THREADS"] = "1"

# What runs of tests remember is nothing for the runs of whoever tests, and the other way round.
_STATE = tempfile.TemporaryDirectory(prefix="fer-edge-tests-")
atexit.register(_STATE.cleanup)
os.environ["XDG_STATE_HOME"] = os.environ["XDG_RUNTIME_DIR"] = _STATE.name

import numpy as np
import pytest

from fer_edge import kernels as kernels_package
from fer_edge.cli import main
from fer_edge.fer2013.reader import read_fer2013
from fer_edge.kernels import fallback
from fer_edge.labels import EMOTIONS, VOTE_COLUMNS, VOTE_OF_EMOTION

REPOSITORY = Path(__file__).parents[1]
DEVELOPMENT_DATA = {name: os.environ.get(name) for name in ("FER2013_CSV", "FERPLUS_CSV")}
"""Paths of files that not everybody has, by the variable that names them; tests reach them by this alone."""

try:
    from fer_edge.kernels import _native as c_kernels
except ImportError:
    c_kernels = None

# A shell starts what runs in its background with Ctrl-C ignored, and tests' programs would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup starts tests with SIGHUP ignored; what they start inherits that, and its tests would wait forever.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs other programs; in `make test-services`, one that is missing is a failure."""
    if os.environ.get("TEST_SERVICES") != "1":
        for item in items:
            if item.get_closest_marker("services"):
                item.add_marker(pytest.mark.skip(reason="make test-services runs it"))


_GRACE = 10.0
"""Seconds in which threads and processes that were told to end do so, on a busy machine."""
_STAYING = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "torch/_inductor")
"""Command lines of processes that a library starts once and keeps."""


@pytest.fixture(autouse=True)
def _no_data_by_the_environment() -> Iterator[None]:
    """The commands would take whoever tests' data for what a test did not name."""
    with pytest.MonkeyPatch.context() as patch:
        for name in DEVELOPMENT_DATA:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """Fail the test that leaves a thread or a process at work, which would log and warn in others' time."""
    threads, processes = set(threading.enumerate()), _children()
    yield
    until = time.monotonic() + _GRACE
    started = [thread for thread in threading.enumerate() if thread not in threads]
    # tqdm keeps one for all bars there will be, fsspec a loop and its helper for all stores.
    started = [
        thread
        for thread in started
        if type(thread).__module__ != "tqdm._monitor" and thread.name not in ("fsspecIO", "asyncio_0")
    ]
    for thread in started:
        thread.join(max(0.0, until - time.monotonic()))
    while (left := _children().keys() - processes) and time.monotonic() < until:
        time.sleep(0.05)
    names = [f"thread {thread.name}" for thread in started if thread.is_alive()]
    names += [f"process {name}" for pid, name in _children().items() if pid in left]
    assert not names, f"still there {_GRACE:g} s after the test: {'; '.join(names)}"


def _children() -> dict[int, str]:
    """The command lines of this process's children that run, less those that libraries keep."""
    found = {}
    for pid in _child_ids():
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            name = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:200]
            if state != "Z" and not any(one in name for one in _STAYING):
                found[pid] = name
    return found


def _child_ids() -> list[int]:
    found, listed = [], False
    for thread in Path("/proc/self/task").iterdir():
        # It may just have ended.
        with contextlib.suppress(OSError):
            found += map(int, (thread / "children").read_text().split())
            listed = True
    if listed:
        return found
    # A kernel without CONFIG_PROC_CHILDREN: all processes have to be looked at, which takes milliseconds.
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(stat.parent.name))
    return found


needs_extension = pytest.mark.skipif(c_kernels is None, reason="the C extension is not built")


@pytest.fixture(params=[pytest.param("c", marks=needs_extension), "numpy"])
def kernels(request, monkeypatch):
    """Run a test on the C kernels and on their NumPy twins."""
    module = c_kernels if request.param == "c" else fallback
    monkeypatch.setattr(kernels_package, "implementation", module)
    return module


def draw_face(code: int, rng: np.random.Generator) -> np.ndarray:
    """A 48x48 cartoon of an emotion: a mouth whose curve and opening tell the seven codes apart."""
    y, x = np.mgrid[0:48, 0:48].astype(float)
    shift_x, shift_y = rng.uniform(-2, 2, 2)
    x, y = x - 24 - shift_x, y - 24 - shift_y
    face = 150 + rng.uniform(-20, 20) - 0.03 * (x**2 + y**2)
    for eye in (-9, 9):
        face[(x - eye) ** 2 + (y + 6) ** 2 < (16 if code in (2, 5) else 7)] = 30
    curve, opening = [(-0.03, 2), (0.0, 6), (-0.03, 6), (0.03, 2), (-0.06, 2), (0.06, 6), (0.0, 2)][code]
    face[(np.abs(y - 12 + curve * (x**2 - 40)) < opening) & (np.abs(x) < 12)] = 60
    noisy = face + rng.normal(0, 6, face.shape)
    image = noisy.clip(0, 255).astype(np.uint8)
    # Both ends of the range occur in every image, as they do in most photographs.
    image[0, 0], image[0, 1] = 0, 255
    return image


def write_csv(path: Path, per_class: dict[str, int], seed: int = 0) -> Path:
    """A FER-2013 CSV of drawn faces: ``per_class`` faces of every emotion for each Usage."""
    rng = np.random.default_rng(seed)
    lines = ["emotion,pixels,Usage"]
    for usage, count in per_class.items():
        for index in range(count * len(EMOTIONS)):
            code = index % len(EMOTIONS)
            pixels = " ".join(map(str, draw_face(code, rng).ravel()))
            lines.append(f"{code},{pixels},{usage}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_votes(path: Path, labels: list[int]) -> Path:
    """FER+ votes, nine for the label and one for "unknown"."""
    rows = [",".join(VOTE_COLUMNS)]
    for label in labels:
        votes = [0] * len(VOTE_COLUMNS)
        votes[VOTE_OF_EMOTION[label]] = 9
        votes[VOTE_COLUMNS.index("unknown")] = 1
        rows.append(",".join(map(str, votes)))
    path.write_text("\n".join(rows) + "\n")
    return path


def read_metrics(run: Path) -> list[dict[str, str]]:
    """The rows of a training run's ``metrics.csv``."""
    with (run / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """The photograph of the demo camera, uint8 (512, 512, 3) BGR, with one face; not to be written to."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    photo = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    photo.flags.writeable = False
    return photo


@pytest.fixture
def write(tmp_path: Path):
    """Write a file, with text or bytes, into ``tmp_path``."""

    def write(content, name="faces.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch):
    """Forbid to look at what is in a folder, also through links, as root may."""
    look = os.stat

    def forbidding(folder: Path) -> None:
        def stat(path, *arguments, **options):
            if not isinstance(path, int) and folder in Path(os.path.realpath(path)).parents:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return look(path, *arguments, **options)

        monkeypatch.setattr(os, "stat", stat)

    return forbidding


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch):
    """The classifier of every recognizer: :class:`pipeline.scripts.BrightnessClassifier`."""
    from pipeline.scripts import BrightnessClassifier

    from fer_edge.pipeline import recognizer

    one = BrightnessClassifier()
    monkeypatch.setattr(recognizer, "load_classifier", lambda *_, **__: one)
    return one


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """25 frames without faces, 10 a second."""
    pytest.importorskip("cv2")
    from sources.pictures import grey, write_film

    return write_film(tmp_path / "film.avi", (grey(60 + level, (160, 120)) for level in range(25)))


@pytest.fixture(scope="session")
def drawn_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """140 Training, 35 PublicTest and 35 PrivateTest rows of drawn faces."""
    folder = tmp_path_factory.mktemp("data")
    return write_csv(folder / "drawn.csv", {"Training": 20, "PublicTest": 5, "PrivateTest": 5})


@pytest.fixture(scope="session")
def drawn(drawn_csv):
    """The rows of :func:`drawn_csv` as training data."""
    from fer_edge.train.data import load_training_data

    return load_training_data(drawn_csv)[0]


@pytest.fixture(scope="session")
def drawn_votes(drawn_csv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FER+ votes on the rows of :func:`drawn_csv`, for their labels."""
    labels = read_fer2013(drawn_csv).labels.tolist()
    return write_votes(tmp_path_factory.mktemp("votes") / "votes.csv", labels)


@pytest.fixture(scope="session")
def trained_edge(drawn_csv, drawn_votes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an ``edge`` that tells drawn faces apart, with both heads."""
    from fer_edge.train.data import load_training_data
    from fer_edge.train.loop import fit
    from fer_edge.train.options import Augmentation, TrainOptions

    folder = tmp_path_factory.mktemp("trained")
    options = TrainOptions(epochs=10, batch=20, warmup=1, ema=0.9, augmentation=Augmentation().scaled(0.2))
    fit(load_training_data(drawn_csv, drawn_votes)[0], options, folder)
    return folder / "last.pt"


class Clock:
    """``time.perf_counter`` of which seconds pass only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self._begin = 100.0
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    @property
    def passed(self) -> float:
        """Seconds since the beginning of the test."""
        return self.now - self._begin

    def takes(self, module: ModuleType, name: str, seconds: float) -> None:
        """Let each call of the function ``name`` of ``module`` take so long."""
        function = getattr(module, name)

        def slow(*arguments, **options):
            self.now += seconds
            return function(*arguments, **options)

        self._monkeypatch.setattr(module, name, slow)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """A :class:`Clock` in place of the real one."""
    return Clock(monkeypatch)


@pytest.fixture
def tiny(monkeypatch):
    """Architectures ``tiny`` and ``tiny-teacher`` that train in moments, of all kinds of blocks."""
    from fer_edge.train.architectures import ARCHITECTURES, Architecture, Stage

    stages = (Stage("fused", 2, 16, 1, 2), Stage("inverted", 3, 24, 2, 2))
    monkeypatch.setitem(ARCHITECTURES, "tiny", Architecture(stem=8, stages=stages, head=32, dropout=0.0))
    stages = (Stage("basic", 1, 16, 1, 2), Stage("basic", 1, 24, 1, 2))
    monkeypatch.setitem(ARCHITECTURES, "tiny-teacher", Architecture(stem=8, stages=stages, head=0))


@pytest.fixture
def cli(capfd):
    """Run one command line as the ``fer-edge`` program does: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def started(tmp_path: Path):
    """Start ``fer-edge run`` in ``tmp_path``, with further environment variables; kill it after the test."""
    processes = []

    def start(*arguments: str, stderr: object = subprocess.PIPE, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_edge", "run", *arguments],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def browser():
    """Chromium, one for all tests: Playwright runs once in a process."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    assert path, "Debian's package chromium is not installed"
    # Chromium refuses to build its sandbox for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    arguments += ["--host-resolver-rules=MAP shop.example 127.0.0.1"]
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch):
    """Set the local time zone of a test."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def repository_module(path: str):
    """A module of the repository that is not installed, such as ``tools/man.py``."""
    file = REPOSITORY / path
    if not file.exists():
        pytest.skip(f"{path} is not beside the tests")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def development_data(name: str) -> Path | None:
    """The file that FER2013_CSV or FERPLUS_CSV named when the tests began, where it is there."""
    path = DEVELOPMENT_DATA[name]
    return Path(path) if path and Path(path).is_file() else None


@pytest.fixture(scope="session")
def fer2013() -> Path:
    """The development CSV; the test is skipped where it is not there."""
    return _data("FER2013_CSV")


@pytest.fixture(scope="session")
def ferplus() -> Path:
    """The crowd votes of the development CSV; the test is skipped where they are not there."""
    return _data("FERPLUS_CSV")


def _data(name: str) -> Path:
    path = development_data(name)
    if path is None:
        pytest.skip(f"{name} does not name the development data")
    return path
