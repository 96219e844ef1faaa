"""The fleet server at a broker without a network: what it hears, asks, confirms, and survives."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
from datetime import UTC, datetime

import pytest

pytest.importorskip("paho.mqtt.enums")
from fleet.fleet_devices import BEGAN, BOOT, STORE, AnsweringDevice, Serving, SessionBroker, minute, visit
from outputs.mqtt_broker import PLACE, FakeControl, WrittenStore, state

from fer_edge.cli import main
from fer_edge.errors import OutputError
from fer_edge.fleet.asking import BACK_OFF
from fer_edge.fleet.database import SqliteDatabase
from fer_edge.fleet.payloads import LARGEST
from fer_edge.fleet.server import DELETE_SECONDS
from fer_edge.outputs.mqtt.feed import to_payload
from fer_edge.outputs.mqtt.publisher import Publisher, Telling
from fer_edge.report.from_store import read_store
from fer_edge.store.reader import StoreReader


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fleet.db"


@pytest.fixture
def hub():
    return SessionBroker()


def seqs(path, device="shop", table="minutes"):
    with StoreReader(path) as store:
        return [one["seq"] for one in store.rows(table, device=device)]


def test_minutes_and_visits_are_written_and_the_device_is_shown(path, hub):
    with Serving(path, hub) as server:
        server.say("shop", "availability", b"online", retain=True)
        server.say("shop", "state", {"version": 1, **state(FakeControl())}, retain=True, qos=0)
        server.say("shop", "minutes", minute(1))
        server.say("shop", "people", {"version": 1, "event": "came", "track": 1}, qos=0)
        server.say("shop", "people", visit(1))
        server.until(lambda: server.fleet.book.written == 2)
        told = server.device("shop")
        assert told["state"] in ("online", "problem") and told["missing"] == 0 and told["seen"]
        assert told["minutes_until"].startswith("2026-09-21T")
        assert server.board["broker"]["connected"]
    assert seqs(path) == [1] and seqs(path, table="visits") == [1]


def test_each_row_is_confirmed_after_it_was_written_and_not_before(path, hub):
    class Slow(SqliteDatabase):
        open_ = False

        def transaction(self):
            if not self.open_:
                raise OutputError("the disk is full")
            return super().transaction()

    database = Slow(path)
    database.open_ = True
    with Serving(path, hub, database=database) as server:
        link = next(iter(hub.links.values()))
        database.open_ = False
        for seq in range(1, 40):
            server.say("shop", "minutes", minute(seq))
        server.until(lambda: server.fleet.board.database is not None)
        assert link.taken == [] and len(hub.kept[link.client_id]) == 39
        assert not server.board["store"]["writable"] and "full" in server.board["store"]["reason"]
        database.open_ = True
        server.until(lambda: len(link.taken) == 39)
        assert seqs(path) == [*range(1, 40)]
        assert server.board["store"]["writable"] and not hub.kept[link.client_id]


def test_a_full_disk_loses_nothing_and_is_told_once(path, hub, caplog):
    with Serving(path, hub) as server:
        server.say("shop", "minutes", minute(1))
        server.until(lambda: server.fleet.book.written == 1)
        connection = server.fleet._database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for seq in range(2, 302):
            server.say("shop", "minutes", minute(seq, camera=f"camera-{seq}"))
        server.until(lambda: server.fleet.board.database is not None)
        # The file is opened anew for each try, and has no limit then.
        server.until(lambda: server.fleet.book.written == 301)
    assert seqs(path) == [*range(1, 302)]
    told = [one for one in caplog.messages if "trying again" in one]
    assert len(told) == 1 and "full" in told[0]


def test_what_is_no_payload_is_counted_told_once_and_ends_nothing(path, hub, caplog):
    with Serving(path, hub) as server:
        server.say("shop", "minutes", b"\xff")
        server.say("shop", "minutes", b"{" + b" " * LARGEST)
        server.say("shop", "minutes", {**minute(1), "version": 2})
        server.say("shop", "minutes", {**minute(1), "happy": 7})
        server.say("shop", "minutes/answer", b"[]")
        server.say("shop", "people", b"null")
        server.say("shop", "availability", b"perhaps")
        server.say("shop", "state", b"", qos=0)
        server.say("shop", "minutes", minute(1))
        server.until(lambda: server.fleet.book.written == 1)
        counts = server.board["counts"]
        assert (counts["malformed"], counts["oversized"], counts["version"]) == (6, 1, 1)
        told = server.device("shop")
        assert told["faults"] == 8 and "state" in told["fault"]
        link = next(iter(hub.links.values()))
        server.until(lambda: not hub.kept[link.client_id])
    lines = [one for one in caplog.messages if one.startswith("fleet: shop: ")]
    assert len(lines) == 1, lines


def test_numbers_of_any_length_end_nothing_and_are_not_sent_again(path, hub):
    huge = b"1" + b"0" * 400
    answer = {"version": 1, "ok": True, "id": "a", "store": STORE, "after": 0, "next": 1, "last": 1}
    answer |= {"rows": [minute(1, version=None, seen=-7)]}
    with Serving(path, hub) as server:
        server.say("shop", "minutes", to_payload(minute(1, seconds=-7)).replace(b"-7", huge))
        server.say("shop", "people", to_payload(visit(1, first_smile=-7)).replace(b"-7", huge))
        server.say("shop", "minutes/answer", to_payload(answer).replace(b"-7", huge))
        server.say("shop", "minutes", to_payload(minute(1, seconds=-7)).replace(b"-7", b"9" * 5000))
        server.say("shop", "minutes", minute(2))
        server.until(lambda: server.fleet.book.written == 1)
        assert server.board["counts"]["malformed"] == 4 == server.device("shop")["faults"]
        link = next(iter(hub.links.values()))
        server.until(lambda: not hub.kept[link.client_id])
    assert seqs(path) == [2]


def test_a_row_that_contradicts_itself_spoils_no_report(path, hub, tmp_path):
    bad = [{"happy": 1, "neutral": 1}, {"sad": None}, {"attention": 99}]
    bad.append({"began": "9999-12-31T23:59:59Z", "seconds": 1e9})
    with Serving(path, hub) as server:
        for seq, wrong in enumerate(bad, start=1):
            server.say("shop", "minutes", minute(seq, **wrong))
            server.say("shop", "people", visit(seq, **wrong))
        server.say("shop", "minutes", minute(9))
        server.until(lambda: server.fleet.book.written == 1)
        assert server.board["counts"]["malformed"] == 8
    assert main(["store", str(path)]) == 0
    assert len(read_store(path).minutes) == 1


def test_a_state_of_any_form_is_shown_as_far_as_it_is_known(path, hub):
    odd = {"version": 1, "people": "many", "temperature": [], "cameras": {"a": 1}, "fer_edge": "0" * 5000}
    with Serving(path, hub) as server:
        server.say("shop", "availability", b"online", retain=True)
        server.say("shop", "state", odd, qos=0)
        server.until(lambda: server.fleet.board.counts["messages"] == 2)
        told = server.device("shop")
        assert told["people"] is None and told["temperature"] is None and len(told["fer_edge"]) == 100
        assert json.loads(json.dumps(server.board))


def as_the_page_has_it(board):
    pytest.importorskip("starlette")
    from fer_edge.outputs.page.answers import as_json

    return json.loads(as_json(board).body)["devices"]


BEYOND_JSON = [
    b'{"version": 1, "people": 1e999}',
    b'{"version": 1, "temperature": -1e999}',
    b'{"version": 1, "fer_edge": "\\ud800"}',
    b'{"version": 1, "cameras": [{"state": "waiting", "name": "door", "reason": "\\udc00"}]}',
    b'{"version": 1, "cameras": [{"state": "waiting", "name": "\\ud800"}]}',
]


def test_a_state_that_the_page_cannot_have_is_refused_and_the_one_before_stays(path, hub):
    with Serving(path, hub) as server:
        server.say("shop", "availability", b"online", retain=True)
        server.say("shop", "state", {"version": 1, "people": 3}, qos=0)
        for payload in BEYOND_JSON:
            server.say("shop", "state", payload, qos=0)
        server.until(lambda: server.fleet.board.counts["messages"] == 7)
        assert as_the_page_has_it(server.board)[0]["people"] == 3
        assert server.board["counts"]["malformed"] == 5 == server.device("shop")["faults"]
        assert "no text has" in server.device("shop")["fault"]


def test_what_an_earlier_version_kept_does_not_take_the_page_down(path, hub):
    with Serving(path, hub):
        pass
    connection = sqlite3.connect(path)
    told = {"people": math.inf, "people_today": 4, "fer_edge": "\ud800", "temperature": -math.inf}
    told |= {"problem": "door: \udc00", "cameras": 1}
    kept = [
        ("shop", json.dumps({"availability": "online", "told": told, "minute": 10**15})),
        ("bar", json.dumps({"availability": "online", "told": {}, "minute": -(10**30)})),
    ]
    now = int(time.time() * 1000)
    connection.executemany(
        "INSERT INTO fleet_device VALUES (?, ?, ?)", [(name, now, told) for name, told in kept]
    )
    connection.commit()
    connection.close()
    with Serving(path, hub) as server:
        bar, shop = as_the_page_has_it(server.board)
    assert (shop["people"], shop["people_today"], shop["cameras"]) == (None, 4, 1)
    assert shop["fer_edge"] is shop["problem"] is shop["temperature"] is shop["minutes_until"] is None
    assert bar["name"] == "bar" and bar["minutes_until"] is None


def test_a_gap_is_asked_for_and_closed(path, hub):
    device = AnsweringDevice(hub, "shop", last=500)
    with Serving(path, hub) as server:
        server.say("shop", "minutes", minute(500))
        device.come()
        server.until(lambda: server.fleet.book.written == 500)
        assert server.device("shop")["missing"] == 0 and server.device("shop")["lost"] == 0
        gaps = [asked for table, asked in device.asked if table == "minutes"]
        assert gaps[0]["after"] == 0 and gaps[0]["until"] == 499
    assert seqs(path) == [*range(1, 501)]


def test_a_device_of_which_nothing_is_known_is_asked_what_it_has(path, hub):
    device = AnsweringDevice(hub, "shop", last=300)
    with Serving(path, hub, history=50) as server:
        device.come()
        server.until(lambda: server.fleet.book.written == 50)
        server.until(lambda: not server.fleet.asker.asked)
    assert seqs(path) == [*range(251, 301)]


def test_what_a_device_has_deleted_is_lost_and_not_asked_for_again(path, hub, caplog):
    device = AnsweringDevice(hub, "shop", last=1)
    with Serving(path, hub) as server:
        device.come()
        server.until(lambda: server.fleet.book.written == 1)
        device.last, device.gone = 9, {3, 4, 7}
        server.say("shop", "minutes", minute(9))
        server.until(lambda: server.fleet.book.written == 6 and not server.fleet.asker.asked)
        server.until(lambda: server.device("shop")["lost"] == 3)
        assert server.device("shop")["missing"] == 0
        asked = len(device.asked)
        device.come()
        server.until(lambda: len(device.asked) >= asked + 2)
        gaps = [one for table, one in device.asked[asked:] if table == "minutes"]
        assert [one["after"] for one in gaps] == [9]
    assert seqs(path) == [1, 2, 5, 6, 8, 9]
    assert any("no longer has 3 rows of minutes, which never arrived here" in one for one in caplog.messages)


def test_rows_that_a_device_does_not_know_of_are_given_up(path, hub):
    device = AnsweringDevice(hub, "shop", last=5)
    with Serving(path, hub) as server:
        server.say("shop", "minutes", minute(1))
        device.come()
        server.until(lambda: server.fleet.book.written == 5)
        # It once told a number that its store does not have, as one restored from a copy.
        server.say("shop", "minutes", minute(1000))
        server.until(lambda: server.device("shop")["lost"] == 994)
        assert server.device("shop")["missing"] == 0


def test_a_device_that_does_not_answer_is_asked_later_and_later(path, hub):
    device = AnsweringDevice(hub, "shop", last=100, answers=False)
    with Serving(path, hub, pace=2000.0) as server:
        server.say("shop", "minutes", minute(100))
        device.come()
        server.until(lambda: sum(table == "minutes" for table, _ in device.asked) >= 4)
        began = server.clock()
        server.until(lambda: server.clock() > began + 6 * BACK_OFF[-1])
        count = sum(table == "minutes" for table, _ in device.asked)
        # In six hours: twelve with pauses that grow to an hour, and one for each new session with the broker.
        assert count <= 12 + hub.begun_anew + 2 and hub.begun_anew <= 6, (count, hub.begun_anew)
        device.answers = True
        device.come()
        server.until(lambda: server.fleet.book.written == 100)


def test_an_answer_that_goes_nowhere_is_not_asked_for_at_once_again(path, hub):
    class Stuck(AnsweringDevice):
        def answer(self, table, asked):
            return {**super().answer(table, asked), "rows": [], "next": asked["after"], "more": True}

    device = Stuck(hub, "shop", last=100)
    with Serving(path, hub) as server:
        server.say("shop", "minutes", minute(100))
        device.come()
        server.until(lambda: server.fleet.asker.unanswered >= 0 and len(device.asked) >= 2)
        began = server.clock()
        server.until(lambda: server.clock() > began + 25)
        assert len(device.asked) <= 6


def test_a_device_that_is_not_there_is_not_asked(path, hub):
    device = AnsweringDevice(hub, "shop", last=100)
    with Serving(path, hub) as server:
        server.say("shop", "minutes", minute(100))
        began = server.clock()
        server.until(lambda: server.fleet.book.written == 1 and server.clock() > began + 30)
        assert device.asked == []
        server.say("shop", "availability", b"offline", retain=True)
        server.until(lambda: server.device("shop")["state"] == "offline")
        assert server.device("shop")["missing"] == 99


def test_only_so_many_are_asked_at_a_time(path, hub):
    devices = [
        AnsweringDevice(hub, f"d{number}", last=50, store=f"store-{number}", answers=False)
        for number in range(40)
    ]
    with Serving(path, hub, pace=1.0, asks=3) as server:
        for one in devices:
            one.come()
        server.until(lambda: sum(len(one.asked) for one in devices) == 3)
        began = server.clock()
        server.until(lambda: server.clock() > began + 0.5)
        assert sum(len(one.asked) for one in devices) == 3 == len(server.fleet.asker.asked)


def test_a_lost_connection_loses_nothing(path, hub):
    with Serving(path, hub) as server:
        server.say("shop", "minutes", minute(1))
        server.until(lambda: server.fleet.book.written == 1)
        hub.kill()
        server.until(lambda: server.fleet.board.broker is not None)
        for seq in (2, 3):
            server.say("shop", "minutes", minute(seq))
        server.until(lambda: server.fleet.book.written == 3)
        server.until(lambda: server.fleet.board.broker is None)
    assert seqs(path) == [1, 2, 3]


def test_a_broker_that_could_keep_only_some_is_made_up_for_by_asking(path):
    hub = SessionBroker(most=5)
    device = AnsweringDevice(hub, "shop", last=1)
    with Serving(path, hub) as server:
        device.come()
        server.until(lambda: server.fleet.book.written == 1)
    for seq in range(2, 60):
        hub.say("fer-edge/shop/minutes", json.loads(json.dumps(minute(seq), default=str)))
    device.last = 60
    assert len(hub.kept[next(iter(hub.kept))]) == 5
    with Serving(path, hub) as server:
        server.until(lambda: server.device("shop")["missing"] == 0 and server.fleet.book.written == 59)
    assert seqs(path) == [*range(1, 61)]


def test_the_store_of_another_run_ends_with_a_switch_of_stores(path, hub):
    device = AnsweringDevice(hub, "shop", last=5)
    with Serving(path, hub) as server:
        device.come()
        server.until(lambda: server.fleet.book.written == 5)
        device.store, device.last = "begun-anew", 2
        device.come()
        server.until(lambda: server.fleet.book.written == 7)
        assert server.device("shop")["missing"] == 0
    assert seqs(path) == [1, 2, 3, 4, 5, 1, 2]


def test_a_device_that_says_nothing_is_silent(path, hub):
    with Serving(path, hub) as server:
        server.say("shop", "availability", b"online", retain=True)
        server.say("old", "availability", b"stopped", retain=True)
        server.until(lambda: len(server.board["devices"]) == 2)
        server.fleet.board._clock = lambda: 4_000_000_000.0
        assert server.device("shop")["state"] == "silent" and server.device("old")["state"] == "stopped"


def test_after_a_restart_the_devices_are_shown_as_they_were(path, hub):
    with Serving(path, hub) as server:
        server.say("shop", "availability", b"online")
        server.say("shop", "state", {"version": 1, **state(FakeControl())}, qos=0)
        server.say("shop", "minutes", minute(4))
        server.until(lambda: server.fleet.book.written == 1)
        before = server.device("shop")
    hub.kept.clear()
    with Serving(path, hub) as server:
        after = server.device("shop")
        assert after == before and after["missing"] == 3


def test_minutes_until_follows_a_clock_that_is_put_right(path, hub):
    in_2037 = round(datetime(2037, 1, 1, tzinfo=UTC).timestamp() * 1000)
    with Serving(path, hub) as server:
        server.say("shop", "minutes", minute(1, origin=in_2037))
        server.until(lambda: server.fleet.book.written == 1)
        assert server.device("shop")["minutes_until"].startswith("2037-01-01T")
    with Serving(path, hub) as server:
        assert server.device("shop")["minutes_until"].startswith("2037-01-01T")
        server.say("shop", "minutes", minute(2))
        server.until(lambda: server.fleet.book.written == 1)
        assert server.device("shop")["minutes_until"] == "2026-09-21T14:16:20.000Z"
    with Serving(path, hub) as server:
        assert server.device("shop")["minutes_until"] == "2026-09-21T14:16:20.000Z"
    with StoreReader(path) as store:
        ends = [f"{one['ended']:%Y-%m-%d %H:%M:%S}" for one in store.rows("minutes")]
    assert ends == ["2026-09-21 14:15:20", "2026-09-21 14:16:20"]


def test_names_beyond_the_most_are_counted_and_dropped(path, hub, monkeypatch):
    monkeypatch.setattr("fer_edge.fleet.board.MOST_DEVICES", 3)
    with Serving(path, hub) as server:
        for number in range(6):
            server.say(f"d{number}", "minutes", minute(1, store=f"store-{number}"))
        server.until(lambda: server.board["counts"].get("strangers") == 3)
        server.until(lambda: server.fleet.book.written == 3)
        assert len(server.board["devices"]) == 3


def test_a_real_device_is_heard_and_caught_up(path, tmp_path, caplog):
    """The publisher of ``fer-edge run --mqtt``, with its store, at the same broker."""
    caplog.set_level(logging.INFO)
    hub, store = SessionBroker(), WrittenStore(tmp_path / "device.db")
    store.add(minutes=130, visits=3)
    asked = FakeControl()
    home = tmp_path / "home"
    home.mkdir()
    telling = Telling(PLACE, "shop", home, store.path, ("door",))
    publisher = Publisher(telling, lambda: {"version": 1, **state(asked)}, asked, hub.link)
    with Serving(path, hub) as server:
        publisher.start()
        try:
            # What came before the broker was met is asked for; what comes then is told.
            server.until(lambda: server.fleet.book.written == 133, 60)
            store.add(minutes=2, visits=1)
            server.until(lambda: server.fleet.book.written == 136, 60)
            assert server.device("shop")["state"] in ("online", "problem")
        finally:
            publisher.stop(2.0)
        server.until(lambda: server.device("shop")["state"] == "stopped")
    store.close()
    with StoreReader(path) as here, StoreReader(tmp_path / "device.db") as there:
        for table in ("minutes", "visits"):
            made = [{**one, "device": "shop"} for one in there.rows(table)]
            assert [*here.rows(table)] == made


def test_what_is_in_the_store_is_whole_after_all_that(path, hub):
    with Serving(path, hub) as server:
        for seq in range(1, 200):
            server.say("shop", "minutes", minute(seq, store=STORE))
        server.until(lambda: server.fleet.book.written == 199)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_a_device_that_has_told_nothing_for_long_is_asked_for_its_last_rows(path, hub):
    device = AnsweringDevice(hub, "shop", last=1)
    with Serving(path, hub, pace=500.0) as server:
        device.come()
        server.until(lambda: server.fleet.book.written == 1)
        # Told, and dropped by the broker; then the run is paused.
        device.last = 4
        server.until(lambda: server.fleet.book.written == 4)
    assert seqs(path) == [1, 2, 3, 4]


def test_rows_are_kept_for_so_many_days(path, hub):
    now = [minute(4)["began"].timestamp()]
    with Serving(path, hub, pace=300.0, keep=2, wall=lambda: now[0]) as server:
        for seq in range(1, 4):
            server.say("shop", "minutes", minute(seq))
        server.until(lambda: server.fleet.book.written == 3)
        now[0] = minute(2)["began"].timestamp() + 2 * 86_400
        server.until(lambda: seqs(path) == [2, 3])


def test_rows_of_a_device_whose_clock_is_not_set_yet_are_kept_also_by_a_new_server(path, hub):
    now = [minute(4)["began"].timestamp()]
    behind = BEGAN - BOOT - 40 * 86_400_000
    for seq in (1, 2):
        with Serving(path, hub, pace=600.0, keep=30, wall=lambda: now[0]) as server:
            made = minute(seq, origin=behind)
            server.say("shop", "people", visit(seq, began=made["began"]))
            server.say("shop", "minutes", made)
            server.until(lambda server=server: server.fleet.book.written == 2)
            over = server.clock() + 2 * DELETE_SECONDS
            server.until(lambda server=server, over=over: server.clock() > over)
    with Serving(path, hub, keep=30, wall=lambda: now[0]) as server:
        server.say("shop", "minutes", minute(3))
        server.until(lambda: server.fleet.book.written == 1)
    assert seqs(path) == [1, 2, 3] and seqs(path, table="visits") == [1, 2]
    with StoreReader(path) as store:
        assert [one["began"] for one in store.rows("minutes")] == [minute(seq)["began"] for seq in (1, 2, 3)]


def test_a_broker_that_stops_sending_is_given_a_new_session(path, hub):
    device = AnsweringDevice(hub, "shop", last=3)
    with Serving(path, hub, pace=200.0) as server:
        device.come()
        server.until(lambda: server.fleet.book.written == 3)
        # As mosquitto 2.0.11 does where it had to drop messages: the connection is there, and nothing comes.
        link = next(one for one in hub.links.values() if one is not device)
        link.offer = lambda message, kept: None
        device.last = 9
        began = server.clock()
        server.until(lambda: server.fleet.book.written == 9)
        assert hub.begun_anew == 1 and server.clock() < began + 300
    assert seqs(path) == [*range(1, 10)]


def test_devices_that_never_answer_do_not_cost_a_session_each_time(path, hub):
    device = AnsweringDevice(hub, "shop", last=3, answers=False)
    with Serving(path, hub, pace=1000.0) as server:
        device.come()
        began = server.clock()
        server.until(lambda: server.clock() > began + 1900)
        assert 1 <= hub.begun_anew <= 3
