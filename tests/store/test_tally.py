"""Rows of visits and minutes, against values worked out by hand."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from results import face, gap, result, tracked

from fer_edge.faces.quality import MEAN_FACE
from fer_edge.store.rows import GapRow, MinuteRow, SecondRow, VisitRow
from fer_edge.store.tally import MOST_PEOPLE, CameraTally

TO_CAMERA = MEAN_FACE[:, :2] + 100


def person(track=1, happy=0.9, to_camera=True, **options):
    landmarks = TO_CAMERA if to_camera else TO_CAMERA * [[1], [1], [1.2], [1], [1]]
    made = face("happy", happy, track, box=(0, 0, 60, 60), **options)
    return replace(made, landmarks=landmarks.astype(np.float32))


def seen(at, *people, dropped=0, after=None):
    return replace(result(), faces=tracked(*people), dropped=dropped, gap=after)


def run(tally, frames):
    """Give ``tally`` frames (milliseconds, persons ...), then end it; return its rows by kind."""
    for at, *people in frames:
        tally.take(seen(at, *people), at)
    tally.end()
    return {
        kind: [row for row in tally.rows if isinstance(row, kind)] for kind in (VisitRow, MinuteRow, GapRow)
    }


def every(step, start, end, *people):
    return [(at, *people) for at in range(start, end + 1, step)]


def test_a_visit_weighs_frames_by_their_time():
    # A second at 0.9, then half a second at 0.3: (0.9 * 1000 + 0.3 * 500) / 1500 = 0.7.
    frames = [
        (0,),
        (1000, person(happy=0.9)),
        (1500, person(happy=0.3, unsure=True, to_camera=False)),
        (2000,),
    ]
    (visit,) = run(CameraTally(0), frames)[VisitRow]
    assert (visit.began, visit.length, visit.seen) == (0, 1500, 1500)
    assert visit.shares[3] == 7000
    # The rest is spread evenly over the other six: 0.3 / 6.
    assert [visit.shares[code] for code in (0, 1, 2, 4, 5, 6)] == [500] * 6
    assert (visit.unsure, visit.attention, visit.unclear) == (500, 1000, 0)
    # The first second is the only one in which the face was seen for its whole length.
    assert (visit.smile, visit.first_smile) == (9000, 0)
    assert visit.size == 600
    assert visit.cut == 0


def test_people_who_are_no_persons_yet_do_not_count():
    rows = run(CameraTally(0), every(100, 0, 3000, face("happy", 0.9, track=None)))
    assert rows[VisitRow] == []
    assert rows[MinuteRow][0].people_max == 0


def test_minutes_are_cut_on_the_minute_of_the_clock():
    # The monotonic clock stands at 5 s when it is 12:00:50, so minutes end at 15 s and 75 s.
    rows = run(CameraTally(origin=12 * 3600_000 + 45_000), every(500, 5000, 80_000, person()))
    assert [(row.began, row.length) for row in rows[MinuteRow]] == [
        (5000, 10_000),
        (15_000, 60_000),
        (75_000, 5000),
    ]
    assert [row.observed for row in rows[MinuteRow]] == [10_000, 60_000, 5000]
    # The frame on the border belongs to the minute that begins.
    assert [row.frames for row in rows[MinuteRow]] == [20, 120, 11]
    assert [row.visits_begun for row in rows[MinuteRow]] == [1, 0, 0]
    assert [row.visits_ended for row in rows[MinuteRow]] == [0, 0, 1]
    assert [row.dwell for row in rows[MinuteRow]] == [0, 0, 75_000]
    (visit,) = rows[VisitRow]
    assert (visit.began, visit.length, visit.seen) == (5000, 75_000, 75_000)


def test_a_frame_across_the_border_is_shared_by_both_minutes():
    rows = run(CameraTally(0), [(59_400, person()), (60_200, person())])
    assert [(row.observed, row.seen) for row in rows[MinuteRow]] == [(600, 600), (200, 200)]


def test_emotions_of_a_minute_are_averaged_over_people_not_over_time():
    # One is there for 40 s with 0.9, the other for 10 s with 0.1: the mean over people is 0.5.
    frames = [
        *every(1000, 0, 40_000, person(1, 0.9)),
        *every(1000, 41_000, 50_000),
        *every(1000, 51_000, 60_000, person(2, 0.1)),
    ]
    minute = run(CameraTally(0), frames)[MinuteRow][0]
    assert minute.people == 2
    assert minute.shares[3] == 5000
    assert (minute.seen, minute.observed) == (50_000, 60_000)
    assert minute.people_max == 1


def test_somebody_who_stays_counts_once_in_each_minute():
    rows = run(CameraTally(0), every(1000, 0, 179_000, person()))
    assert [row.people for row in rows[MinuteRow]] == [1, 1, 1]
    assert len(rows[VisitRow]) == 1


def test_a_face_that_is_out_of_sight_for_a_moment_has_not_left():
    frames = [*every(100, 0, 1000, person()), *every(100, 1100, 2500), *every(100, 2600, 4000, person())]
    (visit,) = run(CameraTally(0), frames)[VisitRow]
    # The time out of sight is part of the visit, but not seen.
    assert (visit.length, visit.seen) == (4000, 1000 + 1500)


def test_a_face_that_is_out_of_sight_for_longer_has_left():
    frames = [*every(100, 0, 1000, person()), *every(100, 1100, 3900), *every(100, 4000, 5000, person())]
    first, second = run(CameraTally(0), frames)[VisitRow]
    assert (first.began, first.length) == (0, 1000)
    assert (second.began, second.length) == (3900, 1100)


def test_a_silent_camera_makes_a_gap_and_ends_visits():
    frames = [*every(1000, 0, 10_000, person(1)), *every(1000, 25_000, 30_000, person(2))]
    rows = run(CameraTally(0), frames)
    assert rows[GapRow] == [GapRow(10_000, 15_000, "no frames")]
    assert [(row.began, row.length) for row in rows[VisitRow]] == [(0, 10_000), (25_000, 5000)]
    (minute,) = rows[MinuteRow]
    assert (minute.observed, minute.gap, minute.length) == (15_000, 15_000, 30_000)


def test_a_gap_over_minutes_counts_in_those_at_its_ends():
    rows = run(CameraTally(0), [*every(1000, 0, 50_000), *every(1000, 190_000, 240_000)])
    first, second = rows[MinuteRow][:2]
    assert (first.began, first.length, first.observed, first.gap) == (0, 60_000, 50_000, 10_000)
    assert (second.began, second.length, second.observed, second.gap) == (180_000, 60_000, 50_000, 10_000)
    assert rows[GapRow] == [GapRow(50_000, 140_000, "no frames")]


def test_a_source_that_gives_frames_seldom_has_no_gaps():
    rows = run(CameraTally(0, longest_step=30_000), every(10_000, 0, 60_000, person()))
    assert rows[GapRow] == []
    assert rows[MinuteRow][0].seen == 60_000


def test_a_gap_that_the_source_tells_of_ends_visits_however_short():
    tally = CameraTally(0)
    tally.take(seen(0, person(1)), 0)
    tally.take(seen(500, person(1)), 500)
    tally.take(seen(1500, person(2), after=gap(1.0, "unplugged")), 1500)
    tally.end()
    assert [row for row in tally.rows if isinstance(row, GapRow)] == [GapRow(500, 1000, "unplugged")]
    assert [row.track for row in tally.rows if isinstance(row, VisitRow)] == [1, 2]


def test_results_that_were_not_stored_are_counted_and_told():
    tally = CameraTally(0)
    tally.take(seen(0), 0)
    tally.lose(40)
    tally.take(seen(9000), 9000)
    tally.end()
    assert tally.rows[0] == GapRow(0, 9000, "not stored")
    assert tally.rows[1].lost == 40


def test_dropped_frames_are_counted_by_minute_also_after_the_source_was_opened_again():
    tally = CameraTally(0)
    for at, dropped in ((0, 2), (30_000, 5), (60_000, 6), (61_000, 1)):
        tally.take(seen(at, dropped=dropped), at)
    tally.end()
    assert [row.dropped for row in tally.rows if isinstance(row, MinuteRow)] == [5, 2]


def test_waiting_ends_visits_and_the_minute_but_counts_nothing_twice():
    tally = CameraTally(0)
    for at in range(0, 50_001, 1000):
        tally.take(seen(at, person()), at)
    tally.wait(51_000)
    assert tally.rows == []
    tally.wait(53_000)
    assert [type(row) for row in tally.rows] == [VisitRow]
    tally.wait(70_000)
    tally.wait(200_000)
    assert [type(row) for row in tally.rows] == [VisitRow, MinuteRow]
    assert (tally.rows[1].observed, tally.rows[1].gap, tally.rows[1].length) == (50_000, 10_000, 60_000)
    tally.take(seen(210_000), 210_000)
    tally.end()
    assert [row for row in tally.rows[2:] if isinstance(row, GapRow)] == [
        GapRow(50_000, 160_000, "no frames")
    ]
    assert (tally.rows[-1].began, tally.rows[-1].gap) == (180_000, 30_000)


def test_what_goes_on_is_told_as_if_it_were_over():
    tally = CameraTally(0)
    for at in range(0, 4501, 500):
        tally.take(seen(at, person()), at)
    visit, minute = tally.open_rows()
    assert (visit.length, visit.seen, visit.cut) == (4500, 4500, 1)
    assert (minute.length, minute.people, minute.seen, minute.cut) == (4500, 1, 4500, 1)
    # Telling it changes nothing.
    assert list(tally.open_rows()) == [visit, minute]
    tally.end()
    assert tally.rows == [
        replace(visit, cut=0),
        dataclasses.replace(minute, cut=0, visits_ended=1, dwell=4500),
    ]


def test_seconds_are_told_only_while_they_are_asked_for():
    tally = CameraTally(0)
    for at in range(0, 10_001, 250):
        if at == 3500:
            tally.set_detail(True)
        if at == 6500:
            tally.set_detail(False)
        tally.take(seen(at, person(7)), at)
    tally.end()
    seconds = [row for row in tally.rows if isinstance(row, SecondRow)]
    # Asked for between the frames at 3250 and 3500, and no more between 6250 and 6500.
    assert [(row.began, row.seen) for row in seconds] == [
        (3000, 750),
        (4000, 1000),
        (5000, 1000),
        (6000, 250),
    ]
    assert {row.track for row in seconds} == {7}
    assert seconds[1].shares[3] == 9000


def test_a_jump_of_the_clock_ends_the_minute_and_shortens_no_visit():
    tally = CameraTally(0)
    for at in range(0, 90_001, 500):
        if at == 20_000:
            tally.set_origin(7 * 3600_000 + 30_000)
        tally.take(seen(at, person()), at)
    tally.end()
    minutes = [row for row in tally.rows if isinstance(row, MinuteRow)]
    # After the jump, minutes end where the new time is a whole one: at 30 s and 90 s.
    assert [(row.began, row.length) for row in minutes] == [
        (0, 19_500),
        (19_500, 10_500),
        (30_000, 60_000),
        (90_000, 0),
    ]
    assert [row.observed for row in minutes] == [19_500, 10_500, 60_000, 0]
    (visit,) = (row for row in tally.rows if isinstance(row, VisitRow))
    assert (visit.length, visit.seen) == (90_000, 90_000)


def test_the_first_smile_is_a_second_in_which_most_people_would_say_happy():
    frames = [
        *every(100, 0, 3000, person(happy=0.4)),
        *every(100, 3100, 4000, person(happy=0.8)),
        *every(100, 4100, 6000, person(happy=0.1)),
    ]
    (visit,) = run(CameraTally(0), frames)[VisitRow]
    assert (visit.smile, visit.first_smile) == (8000, 3000)


def test_a_glance_is_judged_by_all_that_was_seen_of_it():
    (visit,) = run(CameraTally(0), [(0,), (300, person(happy=0.6))])[VisitRow]
    assert (visit.smile, visit.first_smile) == (6000, None)


def test_small_faces_are_unclear_and_have_no_direction():
    small = dataclasses.replace(person(), box=(0, 0, 20, 20))
    (visit,) = run(CameraTally(0), [(0,), (1000, small)])[VisitRow]
    assert (visit.attention, visit.unclear, visit.yaw, visit.pitch) == (0, 1000, None, None)


def test_what_is_kept_does_not_grow_with_the_number_of_people():
    tally = CameraTally(0)
    for index in range(400):
        at = 30 * index
        tally.take(seen(at, *(person(10 * index + k) for k in range(1, 11))), at)
        assert len(tally._people) <= MOST_PEOPLE
    tally.end()
    visits = [row for row in tally.rows if isinstance(row, VisitRow)]
    (minute,) = (row for row in tally.rows if isinstance(row, MinuteRow))
    assert len(visits) == minute.visits_begun == minute.visits_ended == 4000
    # The ten of the first frame stand for no time.
    assert minute.people == 3990
    assert minute.seen == sum(row.seen for row in visits) == 399 * 10 * 30


@pytest.mark.parametrize("at", [0, 400])
def test_frames_of_the_same_millisecond_or_earlier_take_no_time(at):
    tally = CameraTally(0)
    tally.take(seen(500, person()), 500)
    tally.take(seen(at, person()), at)
    tally.end()
    assert tally.rows[0].seen == 0
    assert tally.rows[0].shares is None
    assert tally.rows[1].frames == 2


def lit(at, picture, *faces):
    """A frame with that brightness of the picture and of each of its faces, at 60 pixels."""
    people = [
        replace(person(track, to_camera=True), brightness=level) for track, level in enumerate(faces, start=1)
    ]
    return replace(seen(at, *people), brightness=picture)


def minutes_of(frames):
    tally = CameraTally(0)
    for at, picture, *faces in frames:
        tally.take(lit(at, picture, *faces), at)
    tally.end()
    return [row for row in tally.rows if isinstance(row, MinuteRow)]


def test_light_of_a_minute_is_weighed_by_time():
    # The picture: 3 s at 100, 1 s at 200: 125. Faces: 1 s at 30 and 50, 1 s at 30 and 220: 330 / 4 = 82.5.
    frames = [(0, 100), (1000, 100), (2000, 100, 30, 50), (3000, 200, 30, 220), (4000, 100)]
    (minute,) = minutes_of(frames)
    assert (minute.brightness, minute.face_brightness) == (1250, 825)
    # Below 40 for 2 s, above 195 for one.
    assert (minute.seen, minute.dark, minute.bright) == (4000, 2000, 1000)


def test_at_the_limits_a_face_is_neither_too_dark_nor_too_bright():
    (minute,) = minutes_of([(0, 9, 40, 195), (1500, 9, 40, 195)])
    assert (minute.dark, minute.bright) == (0, 0)


def test_light_is_unknown_where_none_was_measured_and_of_faces_where_there_are_none():
    (minute,) = minutes_of([(0, None, None), (1500, None, None)])
    assert (minute.brightness, minute.face_brightness, minute.dark, minute.bright) == (None,) * 4
    (minute,) = minutes_of([(0, 80), (1500, 80)])
    assert (minute.brightness, minute.face_brightness, minute.dark, minute.bright) == (800, None, 0, 0)


def test_light_of_a_face_out_of_the_picture_does_not_count():
    (minute,) = minutes_of([(0, 80, 120, None), (1500, 80, 120, None)])
    assert (minute.seen, minute.face_brightness, minute.dark) == (3000, 1200, 0)


def test_light_across_the_border_of_minutes_is_shared():
    first, second = minutes_of([(59_000, 10, 10), (60_500, 200, 200), (61_000, 0, 0)])
    assert (first.brightness, first.bright, first.dark) == (2000, 1000, 0)
    # Half a second at 200 and half a second at 0.
    assert (second.brightness, second.bright, second.dark) == (1000, 500, 500)
