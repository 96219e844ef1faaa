"""How long an archive takes on free cores, by what each task costs: nobody may wait long at the end."""

import heapq
import itertools

import numpy as np
import pytest

pytest.importorskip("pyarrow")
from made import settings

from fer_edge.archive.archive import Archive
from fer_edge.archive.engines import Finished, Ready
from fer_edge.archive.films import Film
from fer_edge.archive.join import Joined
from fer_edge.archive.plan import Plan, _cut
from fer_edge.archive.work import Done, JoinTask, PlanTask, SegmentTask

# What was measured with one process on films of 640x480 pixels, 30 a second (docs/performance.md).
SEGMENT, ONCE, JOIN, PLAN = 0.135, 0.04, 0.007, 0.1
"""Seconds: of a second of film, of what a segment decodes twice, of joining a second of film, of a plan."""

GROUP = 0.4
"""Seconds between two key frames."""


def plan_of(seconds, longest, sharing):
    times = np.arange(round(30 * seconds)) / 30
    keys = np.arange(0, seconds, GROUP).tolist()
    flags = np.zeros(len(times), np.bool_)
    return Plan(tuple(_cut(times, keys, longest, sharing)), "", times=times, keys=flags, fresh=flags)


class Costs:
    """An engine of ``count`` workers, in a time of its own, whose tasks take what they are known to take."""

    def __init__(self, films, longest, count):
        self.films, self.longest, self.count = films, longest, count
        self.now = 0.0
        self.worked = [0.0] * count
        self.ended = [0.0] * count
        self.segments = []
        self.tasks = []
        self._events = [(0.0, number, Ready(number)) for number in range(count)]

    def submit(self, worker, task):
        took, value = self.perform(task)
        self.worked[worker] += took
        self.ended[worker] = self.now + took
        self.tasks.append((worker, type(task).__name__, self.now, self.now + took))
        heapq.heappush(self._events, (self.now + took, worker, Finished(worker, Done(value, took, took))))

    def perform(self, task):
        match task:
            case PlanTask(film, sharing):
                return PLAN, plan_of(self.films[film.path], self.longest, sharing)
            case SegmentTask(_, _, segment):
                self.segments.append(segment.seconds)
                return SEGMENT * segment.seconds + ONCE, b"part"
            case JoinTask(film, plan, parts, first):
                seconds = sum(segment.seconds for segment in plan.segments[first : first + len(parts)])
                if task.until < len(plan.segments):
                    return JOIN * seconds, b"state"
                return JOIN * seconds + ONCE, Joined((), 1, 0, False, self.films[film.path], 0, ())

    def wait(self, seconds):
        self.now, _, event = heapq.heappop(self._events)
        return [event]

    def place(self, worker):
        return "here"

    def close(self):
        pass


def done(folder, lengths, count, longest):
    films = {f"/film{number}": seconds for number, seconds in enumerate(lengths)}
    engine = Costs(films, longest, count)
    found = [Film(path, round(1000 * seconds), 0.0, 0.0, "films") for path, seconds in films.items()]
    progress = Archive(folder, found, settings(longest), lambda _: None).run(lambda: engine, {})
    assert (progress.done, progress.failed) == (len(lengths), 0)
    assert sum(engine.segments) == pytest.approx(sum(lengths), rel=0.01)
    return engine


@pytest.mark.parametrize(
    ("lengths", "count", "longest"),
    [
        ([240, 240], 2, 40),  # the comparison in docs/performance.md
        ([3600], 2, 300),
        ([3600, 600, 500, 500, 40], 2, 300),
        ([1000, 1000, 1000], 4, 300),
        ([7200], 8, 300),
    ],
)
def test_no_worker_waits_long_at_the_end(tmp_path, lengths, count, longest):
    one = done(tmp_path / "one", lengths, 1, longest)
    many = done(tmp_path / "many", lengths, count, longest)
    # As long as the shortest segment takes, and joining a few of them.
    for before in many.ended:
        assert many.now - before <= SEGMENT * longest / 8 + JOIN * longest / 2 + 2 * ONCE
    speed = one.now / many.now
    assert speed >= 0.97 * count, (speed, many.now, many.ended)


def test_only_the_end_of_an_archive_is_cut_finely(tmp_path):
    engine = done(tmp_path, [1800, 600], 2, 300)
    whole = [seconds for seconds in engine.segments if seconds > 299]
    # The large film, which is begun first, is cut as asked; of the other one, no part is below an eighth.
    assert len(whole) >= 5
    assert min(engine.segments) >= 300 / 8 / 2 - GROUP
    assert len(engine.segments) <= 6 + 14
    first = done(tmp_path / "one", [600], 1, 300).segments
    assert [round(seconds) for seconds in first] == [300, 300]


def test_parts_are_joined_one_after_the_other_once_all_segments_are_handed_out(tmp_path):
    engine = done(tmp_path, [240], 2, 40)
    joins = [task for task in engine.tasks if task[1] == "JoinTask"]
    segments = [task for task in engine.tasks if task[1] == "SegmentTask"]
    last = max(end for _, _, _, end in segments)
    # Behind the last segment nothing is joined but a few short ones.
    behind = sum(end - begin for _, _, begin, end in joins if end > last)
    assert behind <= JOIN * 40 + ONCE
    for one, following in itertools.pairwise(joins):
        assert following[2] >= one[3]
    assert len(joins) >= 3
