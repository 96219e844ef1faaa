"""A real mosquitto and a real PostgreSQL: servers, brokers and databases that are killed lose no row."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque

import pytest

pytest.importorskip("paho.mqtt.enums")
from fleet.fleet_devices import minute
from fleet.postgresql import PASSWORD, Postgresql
from outputs.mosquitto import await_true, mosquittos

from fer_edge.cli import main
from fer_edge.errors import DataError, OutputError
from fer_edge.fleet.database import database_of
from fer_edge.outputs.mqtt.feed import to_payload
from fer_edge.outputs.mqtt.link import Link, LinkLost, Message
from fer_edge.store.postgresql import open_store
from fer_edge.store.schema import VERSION

pytestmark = pytest.mark.services


@pytest.fixture
def mosquitto(tmp_path):
    with mosquittos(tmp_path, "allow_anonymous true") as begin:
        yield begin


@pytest.fixture(scope="module")
def postgresql():
    pytest.importorskip("psycopg")
    made = Postgresql()
    yield made
    made.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "fleet.db")
    return request.getfixturevalue("postgresql").database()


class Devices:
    """Devices of which each tells and answers as docs/mqtt.md has it, on one connection that comes back."""

    def __init__(self, broker, count):
        self._broker = broker
        self.names = [f"d{number}" for number in range(count)]
        self.last = dict.fromkeys(self.names, 0)
        self.confirmed = dict.fromkeys(self.names, 0)
        self.asked: list[dict] = []
        self._over = threading.Event()
        self.online = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, count=1):
        for name in self.names:
            self.last[name] += count

    @property
    def told(self):
        return self.confirmed == self.last

    def close(self):
        self._over.set()
        self._thread.join(30)

    def _work(self):
        while not self._over.is_set():
            link = Link(self._broker, "devices")
            with contextlib.suppress(LinkLost):
                link.connect()
                link.subscribe(["fer-edge/+/minutes/get", "fer-edge/+/visits/get"])
                for name in self.names:
                    link.publish(Message(f"fer-edge/{name}/availability", b"online", 1, True))
                self.online.set()
                sent = dict(self.confirmed)
                waiting: dict[int, tuple[str, int]] = {}
                while not self._over.is_set():
                    self._tell(link, sent, waiting)
                    link.turn(0.02)
                    while link.acknowledged:
                        number, _ = link.acknowledged.popleft()
                        if number in waiting:
                            name, seq = waiting.pop(number)
                            self.confirmed[name] = max(self.confirmed[name], seq)
                    while link.received:
                        self._answer(link, link.received.popleft())
            link.abandon()
            self.online.clear()
            time.sleep(0.05)

    def _tell(self, link, sent, waiting):
        todo = deque(name for name in self.names if sent[name] < self.last[name])
        while todo and len(waiting) < link.window:
            name = todo.popleft()
            sent[name] += 1
            payload = to_payload(minute(sent[name], f"store-{name}"))
            waiting[link.publish(Message(f"fer-edge/{name}/minutes", payload, 1))] = (name, sent[name])
            if sent[name] < self.last[name]:
                todo.append(name)

    def _answer(self, link, message):
        _, name, table, _ = message.topic.split("/")
        asked = json.loads(message.payload)
        self.asked.append(asked)
        given = self.last[name] if table == "minutes" else 0
        after, last = asked["after"], min(asked.get("until") or given, given)
        seqs = [*range(after + 1, last + 1)][:120]
        more = bool(seqs) and seqs[-1] < last
        told = {
            "version": 1, "ok": True, "id": asked["id"], "store": f"store-{name}", "after": after,
            "rows": [minute(seq, version=None) for seq in seqs],
            "next": seqs[-1] if more else max(after, last), "more": more, "last": given,
        }  # fmt: skip
        link.publish(Message(f"fer-edge/{name}/{table}/answer", to_payload(told), 1))


class Server:
    """``fer-edge fleet`` as a process."""

    def __init__(self, broker, store, log):
        self._command = [sys.executable, "-m", "fer_edge", "fleet", "--mqtt", f"mqtt://{broker.place}"]
        self._command += ["--store", store, "--state-folder", str(log.parent)]
        self.log = log
        self._process = None
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        connections = self.text().count("connected to")
        await_true(
            lambda: self.text().count("connected to") > connections or self._process.poll() is not None
        )

    def text(self):
        return self.log.read_text()

    def end(self, number=signal.SIGTERM):
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(30)


@pytest.fixture
def serve(store, tmp_path):
    made, devices = [], []

    def begin(broker, count=5):
        devices.append(Devices(broker.place, count))
        made.append(Server(broker.place, store, tmp_path / "log"))
        return made[-1], devices[-1]

    yield begin
    for one in made:
        one.end(signal.SIGKILL)
    for one in devices:
        one.close()


def held(store):
    try:
        with open_store(store) as reader:
            found: dict[str, list[int]] = {}
            for row in reader.rows("minutes"):
                found.setdefault(row["device"], []).append(row["seq"])
            return found
    except DataError:
        return {}


def whole(store, devices):
    return held(store) == {name: [*range(1, last + 1)] for name, last in devices.last.items()}


def test_a_server_that_is_killed_again_and_again_loses_no_row(mosquitto, store, serve):
    server, devices = serve(mosquitto())
    for pause in (0.0, 0.3, 0.7, 1.1, 0.5):
        devices.add(20)
        time.sleep(pause)
        server.end(signal.SIGKILL)
        devices.add(3)
        server.start()
    devices.add(1)
    await_true(lambda: whole(store, devices))
    assert server.end() == 0
    assert "Traceback" not in server.text() and PASSWORD not in server.text()


def test_what_the_broker_could_not_keep_meanwhile_is_asked_of_the_devices(mosquitto, store, serve):
    server, devices = serve(mosquitto("max_queued_messages 10"))
    devices.add(1)
    await_true(lambda: whole(store, devices))
    server.end(signal.SIGKILL)
    devices.add(100)
    await_true(lambda: devices.told)
    before = len(devices.asked)
    server.start()
    await_true(lambda: whole(store, devices))
    assert len(devices.asked) > before


def test_a_broker_that_is_killed_loses_no_row(mosquitto, store, serve):
    broker = mosquitto()
    server, devices = serve(broker)
    devices.add(10)
    await_true(lambda: whole(store, devices))
    for _ in range(2):
        broker.kill()
        devices.add(30)
        time.sleep(0.5)
        broker.start()
        await_true(devices.online.is_set)
        devices.add(1)
    await_true(lambda: whole(store, devices))
    assert server.text().count("again after") >= 1


def test_a_broker_that_lets_only_one_message_be_unconfirmed_is_served(mosquitto, store, serve):
    _, devices = serve(mosquitto("max_inflight_messages 1"), 2)
    devices.add(30)
    await_true(lambda: whole(store, devices))


def test_a_database_that_is_restarted_loses_no_row(mosquitto, postgresql, tmp_path):
    store = postgresql.database()
    broker = mosquitto()
    devices = Devices(broker.place, 5)
    server = Server(broker.place, store, tmp_path / "log")
    try:
        for _ in range(2):
            devices.add(20)
            await_true(lambda: whole(store, devices))
            postgresql.kill()
            devices.add(200)
            await_true(lambda: devices.told)
            await_true(lambda: "nothing is confirmed meanwhile" in server.text())
            postgresql.start()
            await_true(lambda: whole(store, devices))
        assert server.end() == 0
        assert PASSWORD not in server.text() and "can be written again" in server.text()
    finally:
        server.end(signal.SIGKILL)
        devices.close()


def test_both_databases_give_the_same_rows_summaries_and_reports(mosquitto, postgresql, tmp_path, capsys):
    from fleet.fleet_devices import visit
    from fleet.test_fleet_book import row

    from fer_edge.fleet.book import Book

    stores = [str(tmp_path / "fleet.db"), postgresql.database()]
    for name in stores:
        database = database_of(name)
        database.open()
        book = Book(database)
        book.load()
        for device in ("shop", "bar"):
            source = book.source(device, f"store-{device}")
            for seq in range(1, 8):
                book.take(source, "minutes", row(minute(seq)))
                book.take(source, "visits", row(visit(seq, first_smile=None if seq % 2 else 1.5), "visits"))
        book.commit()
        database.close()
    told, pages = [], []
    for name in stores:
        with open_store(name) as reader:
            rows = {
                (table, device): [*reader.rows(table, device=device, after=2, limit=4)]
                for table in ("minutes", "visits", "gaps")
                for device in ("shop", None)
            }
            since = rows["minutes", "shop"][1]["began"]
            rows["since"] = [*reader.rows("visits", since=since, camera="door")]
            rows["devices"] = reader.devices()
            columns = [
                {key: value.tolist() for key, value in one.items()}
                for one in reader.columns(
                    "visits", ("device", "began", "happy", "first_smile", "cut"), device="bar"
                )
            ]
            told.append((rows, json.dumps(columns)))
        assert main(["store", name]) == 0
        out = tmp_path / f"report{len(pages)}.html"
        assert main(["report", name, "--device", "shop", "-o", str(out), "--zone", "UTC"]) == 0
        # Figures of a process are numbered.
        page = re.sub(r"\bt\d+(d?)\b", r"t\1", out.read_text())
        pages.append((capsys.readouterr().out.replace(str(out), "PAGE"), page))
        assert main(["store", name, "--csv", str(tmp_path / f"csv{len(pages)}")]) == 0
        capsys.readouterr()
    for key, rows in told[0][0].items():
        assert rows == told[1][0][key], key
    assert told[0][1] == told[1][1]
    assert pages[0][0] == pages[1][0]
    assert pages[0][1].split("<") == pages[1][1].split("<")
    for one in (tmp_path / "csv1").iterdir():
        assert one.read_text() == (tmp_path / "csv2" / one.name).read_text(), one.name


def test_rows_of_a_clock_that_is_not_set_yet_are_kept_in_both_databases(store):
    from fleet.test_fleet_book import check_rows_of_a_clock_that_is_not_set

    check_rows_of_a_clock_that_is_not_set(store)


def test_a_report_of_both_leaves_out_rows_that_contradict_themselves(store, tmp_path, capsys, monkeypatch):
    from fleet.test_fleet_book import check_rows_that_contradict_themselves

    check_rows_that_contradict_themselves(store, tmp_path, capsys, monkeypatch)


class Counted:
    """A database that tells how its rows were looked up by each transaction."""

    def __init__(self, database):
        self._database = database
        self.shrink = database.shrink

    @contextlib.contextmanager
    def transaction(self):
        with self._database.transaction() as work:
            yield work
            self.read_in_order, self.searches = map(
                int,
                work.all(
                    "SELECT sum(seq_tup_read), sum(idx_scan) FROM pg_stat_xact_user_tables "
                    "WHERE relname IN ('minute', 'visit')"
                )[0],
            )


def test_deleting_reads_only_rows_that_are_too_old_in_postgresql(postgresql):
    from fleet.fleet_devices import BEGAN, BOOT
    from fleet.test_fleet_book import row

    from fer_edge.fleet.book import Book

    boots, minutes = 20, 400
    database = database_of(postgresql.database())
    database.open()
    now = [BEGAN / 1000 + minutes * 60]
    book = Book(database, wall=lambda: now[0])
    book.load()
    source = book.source("shop", "a store")
    for seq in range(boots * minutes):
        made = minute(seq % minutes, boot=f"boot {seq // minutes}", origin=BEGAN - BOOT)
        book.take(source, "minutes", row(made | {"seq": seq + 1}))
    book.commit()
    database._connection.execute("ANALYZE")
    counted = book._database = Counted(database)
    assert not book.delete(1)
    # Of each clock the newest minute and the first row of both tables.
    assert counted.read_in_order == 0 and counted.searches <= 2 * 3 * boots
    now[0] += 86_401
    assert not book.delete(1 + 350 / 1440)
    assert counted.read_in_order == 0 and counted.searches <= 2 * 3 * boots + boots * (1 + 51)
    with database.transaction() as work:
        assert work.all("SELECT count(*) FROM minute") == [(boots * (minutes - 51),)]
    database.close()


def test_a_database_without_what_was_heard_of_clocks_goes_on(postgresql):
    database = database_of(postgresql.database())
    for _ in range(2):
        database.open()
        with database.transaction() as work:
            assert work.all("SELECT clock, heard FROM fleet_clock") == []
            work.run("DROP TABLE fleet_clock")
        database.close()


def test_a_database_without_a_store_or_of_another_encoding_is_refused(postgresql, tmp_path, capsys):
    url = postgresql.database()
    assert main(["store", url]) == 2
    assert "has no store" in capsys.readouterr().err
    with pytest.raises(DataError, match="LATIN1"):
        database_of(postgresql.database("LATIN1")).open()
    first = database_of(url)
    first.open()
    with pytest.raises(DataError, match="another fer-edge fleet writes it already"):
        database_of(url).open()
    first.close()


def test_a_database_of_an_earlier_version_goes_on(postgresql):
    url, names = postgresql.database(), ("brightness", "face_brightness", "dark", "bright")
    database = database_of(url)
    database.open()
    with database.transaction() as work:
        for row in ("minute", "open_minute"):
            work.run(f"DROP VIEW {row}s")
            work.run(f"ALTER TABLE {row} {', '.join(f'DROP COLUMN {name}' for name in names)}")
            work.run(f"CREATE VIEW {row}s AS SELECT seq FROM {row}")
        work.run("UPDATE fleet SET store = 2")
    database.close()
    with open_store(url) as reader:
        assert reader.version == 2
        assert list(reader.rows("minutes")) == []
    database.open()
    with database.transaction() as work:
        assert work.all("SELECT store FROM fleet") == [(VERSION,)]
        for row in ("minute", "open_minute"):
            assert work.all(f"SELECT {', '.join(names)} FROM {row}s") == []
    database.close()
    with open_store(url) as reader:
        assert reader.version == VERSION


def test_a_password_is_never_printed(postgresql, capsys):
    url = postgresql.database()
    wrong = url.replace(PASSWORD, "wrong-" + PASSWORD)
    for bad in (
        wrong,
        url.replace("/fleet_", "/none_"),
        url + "&sslmode=perhaps",
        url.replace("host=", "hots="),
    ):
        with pytest.raises(OutputError) as caught:
            database_of(bad).open()
        assert PASSWORD not in str(caught.value) and "\n" not in str(caught.value)
        assert main(["store", bad]) == 2
        captured = capsys.readouterr()
        assert PASSWORD not in captured.err + captured.out
        command = ["fleet", "--mqtt", "mqtt://127.0.0.1:1", "--store", bad]
        assert main(command) == 1
        captured = capsys.readouterr()
        assert PASSWORD not in captured.err + captured.out
