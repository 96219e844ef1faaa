"""An archive on a Ray cluster of two nodes on this machine; make test-services runs it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_port

pytest.importorskip("pyarrow")
from made import command, face_film, started, tables

from fer_edge.archive.manifest import lines_of

pytestmark = pytest.mark.services


class Cluster:
    """Two nodes with a core each; the second one may be killed."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._folder = folder
        self._head = self._node(
            "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"
        )
        self.second: subprocess.Popen | None = None

    def begin(self) -> None:
        """Wait for both nodes."""
        self._waited(1)
        self.second = self._node(f"--address={self.address}")
        self._waited(2)

    def _node(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"),
                *("--object-store-memory=100000000", "--disable-usage-stats"),
                *arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )

    def _waited(self, nodes: int) -> None:
        end = time.monotonic() + 150
        host, port = self.address.split(":")
        code = (
            "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False); "
            "sys.exit(sum(node['Alive'] for node in ray.nodes()) < int(sys.argv[2]))"
        )
        while time.monotonic() < end:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                socket.create_connection((host, int(port)), timeout=1).close()
                asked = [sys.executable, "-c", code, self.address, str(nodes)]
                if not subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode:
                    return
            time.sleep(0.5)
        raise AssertionError("the cluster does not start")

    def kill_second(self) -> None:
        """End the second node with all its processes, as where the plug is pulled."""
        if self.second is not None:
            _kill(self.second)

    def close(self) -> None:
        self.kill_second()
        _kill(self._head)


def _kill(process: subprocess.Popen) -> None:
    """Kill ``process`` and all that it started."""
    family = {process.pid}
    before: set[int] = set()
    while family != before:
        before = set(family)
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) in family:
                    family.add(int(folder.name))
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def cluster(tmp_path_factory):
    pytest.importorskip("ray")
    # Names of sockets are short.
    folder = Path(f"/tmp/fe-ray-{os.getpid()}")
    one = Cluster(folder)
    try:
        one.begin()
        yield one
    finally:
        one.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Ten films, two of them with faults."""
    folder = tmp_path_factory.mktemp("ten")
    for seed in range(9):
        face_film(folder / f"film{seed}.mp4", 60 + 20 * seed, seed)
    hurt = bytearray((folder / "film8.mp4").read_bytes())
    middle = len(hurt) // 2
    hurt[middle : middle + 6000] = bytes(6000)
    (folder / "film8.mp4").write_bytes(hurt)
    (folder / "film9.mp4").write_bytes((folder / "film0.mp4").read_bytes()[:4000])
    return folder


OPTIONS = ("--segment", "0.9s", "--faces", "--device", "test")


@pytest.fixture(scope="module")
def by_local(films, tmp_path_factory):
    out = tmp_path_factory.mktemp("local")
    done = command(films, "--out", out, "--workers", "2", *OPTIONS)
    assert done.returncode == 1, done.stderr
    assert "9 films of 10 done, 1 failed" in done.stdout
    return tables(out)


def test_two_nodes_give_the_rows_of_one_machine(cluster, films, by_local, tmp_path):
    done = command(films, "--out", tmp_path, "--ray", cluster.address, *OPTIONS)
    assert done.returncode == 1, done.stderr
    assert "9 films of 10 done, 1 failed" in done.stdout
    assert tables(tmp_path) == by_local
    assert len({row["film"] for row in by_local["people"]}) == 9


def test_a_node_that_is_lost_costs_no_row(cluster, films, by_local, tmp_path):
    arguments = started(films, "--out", tmp_path, "--ray", cluster.address, *OPTIONS)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 200
        manifest = tmp_path / "manifest.jsonl"
        while process.poll() is None and (
            not manifest.exists() or manifest.read_bytes().count(b'"segment": ') < 4
        ):
            assert time.monotonic() < end
            time.sleep(0.05)
        cluster.kill_second()
        stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 1, stderr
    assert "lost" in stdout, stdout
    assert tables(tmp_path) == by_local
    done = [
        (line["film"], line["segment"])
        for line in lines_of(tmp_path)
        if line.get("state") == "done" and "segment" in line
    ]
    assert len(done) == len(set(done))


def test_no_cluster_is_told(films, tmp_path):
    pytest.importorskip("ray")
    done = command(films, "--out", tmp_path, "--ray", "127.0.0.1:1")
    assert done.returncode == 2
    assert "no Ray cluster there" in done.stderr
    assert "Traceback" not in done.stderr
