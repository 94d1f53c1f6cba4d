"""The pauses between two readings of the fleet's state."""

from types import SimpleNamespace

import pytest
from tickstockpl.db.look import fleet_look
from tickstockpl.db.look.fleet_look import pause_s
from tickstockpl.ops.api import glance
from tickstockpl.ops.api.glance import Glance


class Clock:
    """A clock that only its users move."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s


class OneReading:
    """A stop that is set in the first pause; it records the pause."""

    def __init__(self):
        self.paused_s = None

    def is_set(self):
        return self.paused_s is not None

    def wait(self, seconds):
        self.paused_s = seconds


def paused_after(monkeypatch, took_s):
    """Let the API's look read once, for took_s; return its pause after that."""
    clock, stop = Clock(), OneReading()
    monkeypatch.setattr(glance, "time", clock)

    def observe():
        clock.now_s += took_s
        return SimpleNamespace(fleet=None)

    observer = SimpleNamespace(observe=observe, close=lambda: None)
    Glance(observer, SimpleNamespace(look=lambda: None)).run(stop)
    return stop.paused_s


@pytest.mark.parametrize(("took_s", "pause"), [(0.01, 2), (0.5, 5), (60, 10)])
def test_the_api_reads_the_fleet_again_soon_also_after_a_reading_that_waited_a_minute_for_a_lock(
    monkeypatch, took_s, pause
):
    assert paused_after(monkeypatch, took_s) == pytest.approx(pause)


def test_a_slow_part_is_read_again_within_a_minute_of_a_reading_that_waited(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(fleet_look, "time", clock)

    def ask():
        clock.now_s += 60.0
        return object()

    part = fleet_look._Seldom(15.0)
    first = part.read(clock.now_s, ask)
    assert part.read(clock.now_s - 1, ask) is first
    assert part.read(clock.now_s + 60, ask) is not first


def test_a_pause_is_never_shorter_than_asked():
    assert pause_s(0.0, every_s=60.0, share=0.02, longest_s=15.0) == 60.0
