import numpy as np
import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.ticks import Refused, Ticks
from tickstockpl.producer.pace import TickTimes, by_tick_time, find_jumps, paced, parse_speed

from ..fake_world import FakeWorld

SECOND = 1_000_000_000


class Clock(FakeWorld):
    """A world that ends a wait at stop_at_s."""

    def __init__(self):
        super().__init__()
        self.stop_at_s = float("inf")

    def wait(self, seconds):
        self.world.sleep(seconds)
        return self.now_s >= self.stop_at_s


@pytest.fixture
def clock():
    return Clock()


def ticks(*seconds, refused=()):
    ts = (np.array(seconds, "<f8") * SECOND).astype("<i8")
    return Ticks(["A"], np.zeros(len(ts), "<u2"), ts, np.ones(len(ts)), np.ones(len(ts)), {}, refused)


def let_out(batches, speed, clock):
    """Return (seconds since the start, tick times in seconds) of each batch that comes out."""
    start_s = clock.now_s
    out = [
        (clock.now_s - start_s, batch)
        for batch in paced(batches, speed, wait=clock.wait, world=clock.world)
        if batch is not None
    ]
    return [(round(at, 3), (batch.ts / SECOND).tolist()) for at, batch in out]


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1x", 1.0), ("60x", 60.0), ("60", 60.0), ("0.5x", 0.5)])
def test_a_speed_is_read(text, speed):
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "x", "0", "-1x", "nan", "inf", "fast"])
def test_what_is_no_speed_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # float's own words
        parse_speed(text)


def test_ticks_come_at_their_times(clock):
    out = let_out(by_tick_time([ticks(100, 100, 101, 103)]), 1.0, clock)
    assert [(round(at, 1), found) for at, found in out] == [(0.0, [100, 100]), (1.0, [101]), (3.0, [103])]


def test_a_multiple_of_market_time_is_so_much_quicker(clock):
    out = let_out(by_tick_time([ticks(0, 60), ticks(120)]), 60.0, clock)
    assert [(round(at, 1), found) for at, found in out] == [(0.0, [0]), (1.0, [60]), (2.0, [120])]


def test_no_tick_comes_before_its_time(clock):
    times = [0, 0.013, 0.5, 0.501, 7.25]
    for at, found in let_out(by_tick_time([ticks(*times)]), 1.0, clock):
        assert all(second <= at + 0.0011 for second in found)


def test_a_tick_that_steps_back_comes_at_once(clock):
    out = let_out(by_tick_time([ticks(10, 11), ticks(3, 12)]), 1.0, clock)
    assert [(round(at, 1), found) for at, found in out] == [(0.0, [10]), (1.0, [11]), (1.0, [3]), (2.0, [12])]


def test_between_two_ticks_the_caller_gets_a_turn_at_least_fifty_times_a_second(clock):
    turns = list(paced(by_tick_time([ticks(0, 1)]), 1.0, wait=clock.wait, world=clock.world))
    assert turns.count(None) >= 50
    assert max(clock.waits) <= 0.02


def test_refused_rows_pass_with_their_batch_once(clock):
    row = Refused("price", "", b"")
    batches = by_tick_time([ticks(0, 5, refused=[row]), ticks(refused=[row])])
    out = [batch for batch in paced(batches, 1.0, wait=clock.wait, world=clock.world) if batch is not None]
    assert [(len(batch), len(batch.refused)) for batch in out] == [(1, 1), (1, 0), (0, 1)]


def test_a_stop_ends_the_wait(clock):
    clock.stop_at_s = clock.now_s + 0.5
    out = let_out(by_tick_time([ticks(0, 10)]), 1.0, clock)
    assert [found for _, found in out] == [[0]]


def test_nothing_is_lost_or_repeated_at_any_speed(clock):
    rng = np.random.default_rng(3)
    times = np.sort(rng.random(500) * 20).round(3).tolist()
    out = let_out(by_tick_time([ticks(*times[:100]), ticks(*times[100:])]), 7.0, clock)
    assert [round(second, 3) for _, found in out for second in found] == times


def seconds(*times):
    """Return when ticks of these times arrive, in seconds since the first one, in batches of two."""
    kinds = TickTimes()
    parts = [kinds.arrivals(np.array(times[i : i + 2], "<i8") * 10**9)[0] for i in range(0, len(times), 2)]
    return ((np.concatenate(parts) - parts[0][0]) // 10**9).tolist()


@pytest.mark.parametrize(
    ("times", "arrivals"),
    [
        ((0, 1, 2_000_000_000, 2, 3), [0, 1, 61, 61, 62]),  # a row of 2033 among those of 1970
        ((0, 1, 2_000_000_000, 2_000_000_001, 2, 3), [0, 1, 61, 62, 62, 63]),
        ((5000, 5001, 1, 5002, 5003), [0, 1, 1, 61, 62]),  # a row of the past
        ((0, 86_400, 86_401), [0, 60, 61]),  # a night
        ((0, 900, 1801), [0, 900, 960]),  # a quiet share is waited for
        ((86_400, 86_401, 0, 1), [0, 1, 1, 2]),  # the day before comes second
        ((10, 11, 3, 12), [0, 1, 1, 2]),
    ],
)
def test_a_jump_in_tick_time_passes_like_a_minute_and_one_back_like_nothing(times, arrivals):
    assert seconds(*times) == arrivals


def test_ticks_that_jump_all_the_time_cannot_be_paced():
    with pytest.raises(UsageError, match="not in the order of their time"):
        find_jumps(ticks(0, 10_000) for _ in range(600))
