"""Lists of events: what is read, where it lies, what is odd about it, and how faults are told."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fer_edge.errors import DataError
from fer_edge.store.events import MOST_EVENTS, ListedEvent, placed, problems, read_events


@pytest.fixture
def berlin(local_zone):
    local_zone("Europe/Berlin")


def listed(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "events.csv"
    path.write_bytes(text.encode(encoding))
    return read_events(path)


def test_offsets_in_seconds_minutes_and_hours(tmp_path):
    events = listed(
        tmp_path,
        "offset,name,group,duration\n90,A,trailers,\n90.5,B,trailers,1:30\n2:05,C,,0.5\n1:02:03.25,D,x,1:00:00\n",
    )
    assert [(one.began, one.name, one.group, one.ended) for one in events] == [
        (90.0, "A", "trailers", None),
        (90.5, "B", "trailers", 180.5),
        (125.0, "C", None, 125.5),
        (3723.25, "D", "x", 7323.25),
    ]
    assert [(one.number, one.row) for one in events] == [(1, 2), (2, 3), (3, 4), (4, 5)]


def test_moments_are_of_the_machines_zone_unless_they_say_otherwise(tmp_path, berlin):
    events = listed(
        tmp_path,
        "name,time,end\nA,2026-11-26T20:15:30,2026-11-26 20:16\nB,2026-11-26T20:15:30Z,\n"
        "C,2026-11-26T20:15:30.5+05:30,\nD,2026-07-01 12:00,\n",
    )
    assert [one.began for one in events] == [
        datetime(2026, 11, 26, 19, 15, 30, tzinfo=UTC),
        datetime(2026, 11, 26, 20, 15, 30, tzinfo=UTC),
        datetime(2026, 11, 26, 14, 45, 30, 500_000, tzinfo=UTC),
        datetime(2026, 7, 1, 10, 0, tzinfo=UTC),
    ]
    assert events[0].ended == datetime(2026, 11, 26, 19, 16, tzinfo=UTC)


def test_moments_without_a_zone_are_of_the_one_that_is_given(tmp_path, berlin):
    text = (
        "name,time,end\nA,2026-11-26T20:15:30,2026-11-26 20:16\nB,2026-11-26T20:15:30Z,\n"
        # Summer time ends on 1 November at 2:00, and begins on 8 March at 2:00.
        "C,2026-11-01 01:30,\nD,2026-03-08 02:30,\n"
    )
    (tmp_path / "events.csv").write_text(text)
    events = read_events(tmp_path / "events.csv", ZoneInfo("America/New_York"))
    assert [one.began for one in events] == [
        datetime(2026, 11, 27, 1, 15, 30, tzinfo=UTC),
        datetime(2026, 11, 26, 20, 15, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
        datetime(2026, 3, 8, 7, 30, tzinfo=UTC),
    ]
    assert events[0].ended == datetime(2026, 11, 27, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("offset;name;group\n1,5;A, the first;g\n\n;;\n3;B;g\n", "utf-8"),
        ("Offset\tNAME\tnotes\tgroup\n1.5\tA, the first\tx\tg\n3\tB\t\tg\n", "utf-8-sig"),
        ('offset,name,group\r\n1.5,"A, the first",g\r\n3,B,g\r\n', "utf-8"),
    ],
)
def test_files_of_spreadsheets_are_read(tmp_path, text, encoding):
    events = listed(tmp_path, text, encoding)
    assert [(one.began, one.name, one.group) for one in events] == [
        (1.5, "A, the first", "g"),
        (3.0, "B", "g"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ", row 1: names the columns nothing; needed are time or offset, name"),
        ("0:01:30,Trailer A\n", ", row 1: names the columns 0:01:30, trailer a; needed are time or offset"),
        ("offset,title\n1,A\n", ", row 1: names the columns offset, title; needed are"),
        ("offset,name\n", ": has no events; each is a row, as 0:01:30,Trailer A, below offset,name"),
        ("offset,name,time\n1,A,2026-11-26T20:00\n", ", row 1: has the columns time and offset; leave one"),
        ("offset,name,end,duration\n1,A,2,1\n", ", row 1: has the columns duration and end; leave one"),
        ("offset,name,name\n1,A,B\n", ", row 1: there are two columns name"),
        ("offset,name,gruop\n1,A,B\n", ", row 1: column 'gruop': did you mean group?"),
        (
            "offset,name\n1,A\nx,B\n",
            ", row 3, column offset: 'x' is not seconds as 90 or 90.5, or 1:30, or 0:01:30",
        ),
        ("offset,name\n-1,A\n", ", row 2, column offset: '-1' is not"),
        ("offset,name\n1:75,A\n", ", row 2, column offset: '1:75' is not"),
        ("offset,name\n1:75:00,A\n", ", row 2, column offset: '1:75:00' is not"),
        ("offset,name\n,A\n", ", row 2, column offset: is empty, not seconds as 90"),
        ("offset,name\n1\n", ", row 2, column name: is empty; say what was shown"),
        ("offset,name,end\n5,A,4\n", ", row 2, column end: '4' ends the event before it has begun"),
        ("offset,name,duration\n5,A,0\n", ", row 2, column duration: '0' ends the event before it has begun"),
        ("offset,name,duration\n5,A,soon\n", ", row 2, column duration: 'soon' is not seconds as 90"),
        (
            "time,name\n20:15,A\n",
            ", row 2, column time: '20:15' is not 2026-11-26T20:15:30, or with its zone",
        ),
        ("time,name\n2026-11-26,A\n", ", row 2, column time: '2026-11-26' is not 2026-11-26T20:15:30"),
        ("time,name\n2026-13-26T20:15,A\n", ", row 2, column time: '2026-13-26T20:15' is not"),
        ('offset,name\n1,"A\nB"\n', ", row 2, column name: 'A\\nB' has control characters"),
        ('offset,name\n1,"A\n2,B\n', ", row 2: no CSV: unexpected end of data"),
        (f"offset,name\n1,{'x' * 201}\n", ", row 2, column name: has 201 characters; at most 200"),
        ("offset,name\n" + "1,A\n" * (MOST_EVENTS + 1), f", row {MOST_EVENTS + 2}: more than 10,000 events"),
    ],
)
def test_faults_are_told_with_row_and_column(tmp_path, text, told):
    with pytest.raises(DataError) as caught:
        listed(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/events.csv{told}"), caught.value


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(DataError, match="not UTF-8; save it as CSV UTF-8"):
        listed(tmp_path, "offset,name\n1,Käse\n", "latin-1")
    with pytest.raises(DataError, match="No such file"):
        read_events(tmp_path / "none.csv")
    with pytest.raises(DataError, match="Is a directory"):
        read_events(tmp_path)


def event(number, began, ended=None):
    return ListedEvent(number, number + 1, "ABCDEFG"[number - 1], None, began, ended)


def test_offsets_lie_after_the_beginning_and_moments_where_the_clock_says():
    at = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)
    origin = round(1000 * at.timestamp()) - 500_000
    found = placed([event(1, 2.5), event(2, 1.0, 1.5)], zero=500_000, origin=origin)
    assert [(one.listed.number, one.began, one.ended) for one in found] == [
        (2, 501_000, 501_500),
        (1, 502_500, None),
    ]
    found = placed([event(1, at.replace(second=3))], 0, origin)
    assert [one.began for one in found] == [503_000]
    with pytest.raises(DataError, match="row 2, column time: a film knows no time of day; give offset"):
        placed([event(1, at)], 0, None)


def test_what_lies_outside_is_told():
    found = placed([event(1, 1.0), event(2, 5.0, 12.0), event(7, 10.0), event(4, 15.5)], 0)
    assert problems(found, 2_000, 10_000) == [
        "event 1 ('A') lies 1.0 s before the beginning",
        "event 2 ('B') goes on for 2.0 s after the end",
        "event 7 ('G') lies 0.0 s after the end",
        "event 4 ('D') lies 5.5 s after the end",
        "event 2 ('B') and event 7 ('G') overlap by 2.0 s",
    ]
    assert problems(placed([event(1, 1.0), event(2, 5.0)], 0), 0, 10_000) == []


def test_overlaps_are_told_once_each():
    found = placed(
        [event(1, 0.0, 4.0), event(2, 3.0, 5.0), event(3, 5.0, 9.0), event(4, 6.0, 7.0), event(5, 20.0)], 0
    )
    assert problems(found) == [
        "event 1 ('A') and event 2 ('B') overlap by 1.0 s",
        "event 3 ('C') and event 4 ('D') overlap by 1.0 s",
    ]
    assert problems(placed([event(1, 5.0), event(2, 5.0)], 0)) == [
        "event 1 ('A') and event 2 ('B') begin at the same moment"
    ]
