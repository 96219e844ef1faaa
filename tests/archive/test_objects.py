"""Films from object stores: fetched, used, removed; no more at a time than there is room for."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ports import free_port

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")
from made import Inline, command, face_film, rows, settings

from fer_edge.archive.archive import Archive
from fer_edge.archive.films import Film, find_films
from fer_edge.archive.objects import Objects
from fer_edge.errors import DataError


@pytest.fixture
def store():
    """A file system in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def put(system, name, content):
    with system.open(name, "wb") as stream:
        stream.write(content)


def test_folders_patterns_and_files_of_a_store(store):
    for name in ("/shop/door/1.mp4", "/shop/till/2.mkv", "/shop/till/notes.txt"):
        put(store, name, b"12345")
    for url in ("memory://shop", "memory://shop/*/*.m*", "memory://shop/door/1.mp4"):
        films = find_films([url])
        expected = ["memory://shop/door/1.mp4", "memory://shop/till/2.mkv"][
            : 1 if url.endswith("1.mp4") else 2
        ]
        assert [film.path for film in films] == expected
        assert [film.source for film in films] == ["door", "till"][: len(expected)]
        assert films[0].size == 5
        assert films[0].remote
    with pytest.raises(DataError, match="does not exist"):
        find_films(["memory://shop/nothing.mp4"])
    with pytest.raises(DataError, match="nothing://"):
        find_films(["nothing://x/y.mp4"])


def test_films_of_a_store_are_found_by_the_rules_of_files(store, tmp_path):
    held = ("a[1].mp4", "a1.mp4", "a2.mp4", "._a1.mp4", "day[1]/b.mp4", "day[1]/.b.mp4")
    for name in held:
        put(store, f"/shop/{name}", b"12345")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    for given, expected in (
        ("a[1].mp4", ["a[1].mp4"]),
        ("a[12].mp4", ["a1.mp4", "a2.mp4"]),
        ("day[1]", ["day[1]/b.mp4"]),
        ("._a1.mp4", ["._a1.mp4"]),
        ("*.mp4", ["a1.mp4", "a2.mp4", "a[1].mp4"]),
        ("", ["a1.mp4", "a2.mp4", "a[1].mp4", "day[1]/b.mp4"]),
    ):
        for base in ("memory://shop", tmp_path.as_uri(), str(tmp_path)):
            films = find_films([f"{base}/{given}".rstrip("/")])
            assert [film.path for film in films] == [f"{base}/{name}" for name in expected]
    with pytest.raises(DataError, match=r"memory://shop/c\[1\]\.mp4: no film matches"):
        find_films(["memory://shop/c[1].mp4"])


def test_secrets_of_a_url_are_written_nowhere():
    film = Film("sftp://me:secret@host/films/1.mp4", 5)
    assert "secret" not in film.path
    assert film.id == Film("sftp://me:other@host/films/1.mp4", 5).id


def test_a_film_is_fetched_once_and_removed_at_the_end(store, tmp_path):
    put(store, "/shop/1.mp4", b"a film")
    film = find_films(["memory://shop/1.mp4"])[0]
    objects = Objects(str(tmp_path / "scratch"), 1000)
    with objects.local(film) as path:
        assert path.read_bytes() == b"a film"
        put(store, "/shop/1.mp4", b"A FILM")
        with objects.local(film) as again:
            assert again == path
            assert again.read_bytes() == b"a film"
    objects.close()
    assert not (tmp_path / "scratch").exists()


def test_the_one_that_was_used_longest_ago_makes_room(store, tmp_path):
    for name in "abc":
        put(store, f"/shop/{name}.mp4", name.encode() * 40)
    films = find_films(["memory://shop"])
    objects = Objects(str(tmp_path), 100)
    paths = []
    for film in (films[0], films[1], films[0]):
        with objects.local(film) as path:
            paths.append(path)
        time.sleep(0.02)
    with objects.local(films[2]) as path:
        assert path.exists()
        assert paths[0].exists()
        assert not paths[1].exists()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 100


def test_a_film_in_use_is_waited_for(store, tmp_path):
    for name in "ab":
        put(store, f"/shop/{name}.mp4", name.encode() * 60)
    first, second = find_films(["memory://shop"])
    objects, other = Objects(str(tmp_path), 100), Objects(str(tmp_path), 100)
    came = threading.Event()

    def use_second():
        with other.local(second):
            came.set()

    with objects.local(first) as path:
        thread = threading.Thread(target=use_second)
        thread.start()
        assert not came.wait(0.5)
        assert path.exists()
    assert came.wait(30)
    thread.join()
    assert not path.exists()


def test_a_film_larger_than_the_room_is_refused(store, tmp_path):
    put(store, "/shop/a.mp4", b"x" * 200)
    film = find_films(["memory://shop/a.mp4"])[0]
    with pytest.raises(DataError, match="--scratch-size"), Objects(str(tmp_path), 100).local(film):
        pass


def test_a_film_that_was_removed_meanwhile_is_told(store, tmp_path):
    put(store, "/shop/a.mp4", b"x")
    film = find_films(["memory://shop/a.mp4"])[0]
    store.rm("/shop/a.mp4")
    objects = Objects(str(tmp_path), 100)
    told = r"memory://shop/a\.mp4: was removed since it was listed"
    with pytest.raises(DataError, match=told), objects.local(film):
        pass
    assert [path.suffix for path in tmp_path.iterdir() if path.stat().st_size] == []


def test_an_archive_of_a_store_has_the_rows_of_files(store, tmp_path):
    path = face_film(tmp_path / "one.mp4", 60)
    put(store, "/door/one.mp4", path.read_bytes())
    put(store, "/door/none.mp4", b"none")
    listed = tmp_path / "list.txt"
    listed.write_text("memory://door/one.mp4\t2026-11-26\nmemory://door/none.mp4\n")
    of = settings()
    of = type(of)(**{**vars(of), "scratch": str(tmp_path / "scratch")})
    archive = Archive(tmp_path / "out", find_films([f"@{listed}"]), of, lambda _: None)
    progress = archive.run(lambda: Inline(of), {})
    assert progress.failures == {
        "memory://door/none.mp4": "memory://door/none.mp4: neither an image nor a video that OpenCV can read"
    }
    listed.write_text(f"{path}\t2026-11-26\tdoor\n")
    Archive(tmp_path / "files", find_films([f"@{listed}"]), of, lambda _: None).run(lambda: Inline(of), {})
    left, right = (
        [{**row, "film": "", "run": 0, "boot": ""} for row in rows(tmp_path / name, "people")]
        for name in ("out", "files")
    )
    assert left == right != []


def listening(port, process):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    raise AssertionError("the server does not start")


@contextlib.contextmanager
def server(*arguments, port):
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        listening(port, process)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.services
def test_s3(tmp_path, monkeypatch):
    s3fs = pytest.importorskip("s3fs")
    port = free_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "made",
        "AWS_SECRET_ACCESS_KEY": "up",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    path = face_film(tmp_path / "one.mp4", 60)
    with server(sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), port=port):
        system = s3fs.S3FileSystem()
        system.mkdir("shop")
        system.put(str(path), "shop/door/one.mp4")
        (tmp_path / "temporary").mkdir()
        done = command(
            *("s3://shop/door", "--out", tmp_path / "out", "--workers", "2", "--segment", "0.9s"),
            env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        )
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "out", "minutes")
    assert sum(row["frames"] for row in found) == 60
    assert {(row["film"], row["camera"]) for row in found} == {("s3://shop/door/one.mp4", "door")}
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.services
def test_sftp(tmp_path):
    pytest.importorskip("paramiko")
    port = free_port()
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    films = tmp_path / "films"
    films.mkdir()
    face_film(films / "one.mp4", 60)
    keys = {name: tmp_path / name for name in ("host", "user")}
    for key in keys.values():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    keys["user"].rename(home / ".ssh" / "id_ed25519")
    (home / ".ssh" / "authorized_keys").write_bytes((tmp_path / "user.pub").read_bytes())
    configuration = tmp_path / "sshd_config"
    configuration.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys['host']}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {home}/.ssh/authorized_keys\nStrictModes no\nSubsystem sftp internal-sftp\n"
    )
    import getpass
    import shutil

    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd is not None
    if os.geteuid() == 0:
        # As root, sshd wants it, and a service manager would have made it.
        Path("/run/sshd").mkdir(exist_ok=True)
    with server(sshd, "-D", "-e", "-f", str(configuration), port=port):
        done = command(
            *(
                f"sftp://{getpass.getuser()}@127.0.0.1:{port}{films}",
                "--out",
                tmp_path / "out",
                "--workers",
                "1",
            ),
            env={**os.environ, "HOME": str(home), "TMPDIR": str(Path(tmp_path))},
        )
    assert done.returncode == 0, done.stderr
    assert sum(row["frames"] for row in rows(tmp_path / "out", "minutes")) == 60
    assert list(tmp_path.glob("fer-edge-archive-*")) == []
