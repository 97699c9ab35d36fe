"""What bound an extraction, with clocks and events that tell what the test says."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.extraction import forwarding, loop
from embedkit.extraction.bound import (
    DECODE,
    FORWARD,
    LAUNCH,
    PREPARE,
    READ,
    WAITING,
    WRITE,
    Clock,
    DeviceTime,
    Spent,
    bound,
)
from embedkit.extraction.extract import extract
from embedkit.extraction.job import Job
from embedkit.extraction.loop import Computed
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Parts
from embedkit.extraction.settling import Settled


class Now:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


class Event:
    """An event recorded on a stream that is as far as `stream.at` milliseconds."""

    def __init__(self, stream):
        self.at = stream.at

    def elapsed_time(self, later):
        return later.at - self.at

    def synchronize(self):
        """It is there."""


def spent(n=1000, seconds=10.0, **stages):
    return Spent(
        n, seconds, dict.fromkeys((READ, DECODE, PREPARE, LAUNCH, FORWARD, WRITE, WAITING), 0.0) | stages
    )


@pytest.mark.parametrize(
    ("stages", "forward", "prepare", "stage"),
    [
        ({LAUNCH: 1.0, WAITING: 0.5, READ: 90.0}, 0.009, 0.001, FORWARD),  # threads keep up
        ({LAUNCH: 1.0, WAITING: 0.5}, 0.003, 0.006, PREPARE),  # on the device
        ({WAITING: 8.0, READ: 9.0, DECODE: 100.0}, 0.001, 0.0, DECODE),
        ({WAITING: 8.0, READ: 90.0, DECODE: 10.0}, 0.001, 0.0, READ),
        ({LAUNCH: 6.0, WAITING: 3.0, DECODE: 160.0}, 0.0002, 0.0, LAUNCH),  # JPEGs at 2 % of the bare rate
        ({WRITE: 5.0, WAITING: 1.0}, 0.004, 0.0, WRITE),
    ],
)
def test_what_has_the_largest_share_binds(stages, forward, prepare, stage):
    found = bound(spent(**stages), forward=forward, prepare=prepare)
    assert found.stage == stage
    assert found.share == pytest.approx(100 * forward)
    assert found.forward_rate == pytest.approx(1 / forward)


def test_a_run_is_never_faster_than_its_passes_alone():
    found = bound(spent(n=4702, seconds=1.0), forward=1 / 1370.7, prepare=0.0)
    assert found.forward_rate == pytest.approx(4702)
    assert found.share == pytest.approx(1)


def test_nothing_bound_what_computed_nothing():
    assert bound(spent(n=0), forward=1.0, prepare=0.0) is None
    assert bound(spent(), forward=0.0, prepare=0.0) is None


def run(clock, now, *batches):
    clock.start()
    for n, seconds in batches:
        with clock(WAITING):
            now.at += seconds
        clock.done(n)
    clock.done(0)


def test_the_first_batch_is_apart():
    now = Now()
    clock = Clock(now)
    now.at += 9.0  # compiling
    run(clock, now, (32, 2.0), (32, 0.25), (32, 0.25))
    assert clock.beginning == 11.0
    found = clock.spent()
    assert (found.n, found.seconds, found.stages[WAITING]) == (64, 0.5, 0.5)
    now.at += 1000.0  # between two runs nothing counts
    run(clock, now, (32, 0.25))
    assert (clock.spent().n, clock.spent().seconds, clock.beginning) == (96, 0.75, 11.0)


def test_a_first_batch_that_is_most_counts():
    now = Now()
    clock = Clock(now)
    now.at += 9.0
    run(clock, now, (32, 2.0), (8, 0.5))
    found = clock.spent()
    assert (found.n, found.seconds, found.stages[WAITING]) == (40, 2.5, 2.5)
    assert Clock(now).spent().n == 0


def test_a_device_is_timed_by_full_batches():
    stream = Now()
    times = DeviceTime(lambda: Event(stream))

    def batch(n, *milliseconds):
        marks = [times.mark()]
        for each in milliseconds:
            stream.at += each
            marks.append(times.mark())
        times.took(n, tuple(marks))

    batch(10, 900.0, 900.0)
    for _ in range(3):
        batch(100, 50.0, 200.0)
    batch(10, 40.0, 100.0)  # the last: as dear as many
    assert times.of_an_image(None) == pytest.approx((0.0005, 0.002))
    # Gaps that launches left between two events are no work.
    assert times.of_an_image((0.0004, 0.003)) == pytest.approx((0.0004, 0.002))


def test_a_pass_alone_is_timed_warm(monkeypatch):
    now, calls = Now(), []

    def compute():
        calls.append(None)
        now.at += 60.0 if len(calls) == 1 else 5.0 if len(calls) == 6 else 0.01

    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    monkeypatch.setattr(forwarding.time, "perf_counter", now)
    assert forwarding._seconds(compute, torch.device("cuda", 1)) == pytest.approx(0.01)


def test_a_part_that_cannot_be_written_ends_the_run(image_folder, tiny, tmp_path, monkeypatch):
    def full(self, number, part):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Parts, "write", full)
    with pytest.raises(OSError, match="No space left"):
        extract(str(image_folder(4)), tmp_path / "a.h5", backbone=tiny, options=ExtractOptions(device="cpu"))


def test_what_it_took_to_begin_is_said_where_it_is_long(image_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop.Loop, "beginning", 12.4)
    call = [
        "extract",
        str(image_folder(4)),
        "--backbone",
        "test_vit",
        "--random-init",
        "0",
        "--device",
        "cpu",
    ]
    assert main([*call, "-o", str(tmp_path / "a.h5")]) == 0
    assert " images/s behind 12 s to begin, bound by " in capsys.readouterr().out


def test_a_rate_needs_images():
    assert Computed().rate is None
    assert Computed(10, 2.0).rate == 5


def test_a_card_is_timed_by_its_events(image_folder, tiny, tmp_path, monkeypatch):
    """The way of a GPU, with a stream on which preparing takes 1 ms, and each pass 1,000 s."""
    stream, steps = Now(), itertools.cycle((0.0, 1.0, 1e6, 0.0))  # the last when features are copied back

    def record(_event=None):
        stream.at += next(steps)
        return Event(stream)

    fake = SimpleNamespace(record_event=record)
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: fake)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    job = Job.plan(load_dataset(str(image_folder(11))), tiny, ExtractOptions(batch_size=4, device="cpu"))
    parts = Parts(tmp_path / "f.h5", 11, 1)
    parts.folder.mkdir()
    ours = loop.Loop(job, parts, Settled("fp32"))
    ours._forward._cuda = True
    monkeypatch.setattr(forwarding, "_host", lambda x: x)
    ours.run(parts, [0], lambda _n: None)
    assert parts.finished() == [0]
    assert ours.spent().n == 7
    preparing, passing = ours._forward.of_an_image(ours.spent())
    assert preparing <= 1e-3 / 4
    # Not what the events say, which is longer than a pass alone takes.
    assert 0 < passing < 1
    assert ours.bound().forward_rate > 1
