import pytest
from tickstockpl.workers.steady_clock import Reading, SteadyClock

HOUR = 3_600_000
START = 1_760_000_000_000  # Unix ms


class Clocks:
    """Redis's clock, this worker's monotonic one and PostgreSQL's, all moved by the test."""

    def __init__(self):
        self.passed = 0
        self.redis_off = self.database_off = 0
        self.asked = 0
        self.steady = SteadyClock(monotonic_ms=lambda: 77 + self.passed, witness_ms=self.witness)

    def witness(self):
        self.asked += 1
        return START + self.passed + self.database_off

    def read(self, *, after_ms=1000):
        self.passed += after_ms
        return self.steady.read(START + self.passed + self.redis_off)

    @property
    def now(self):
        return START + self.passed


@pytest.fixture
def clocks():
    clocks = Clocks()
    clocks.read()
    return clocks


def test_the_first_time_is_believed_whatever_it_is():
    clocks = Clocks()
    clocks.redis_off = HOUR
    assert clocks.read() == Reading(clocks.now + HOUR)
    assert clocks.asked == 0


def test_a_clock_that_drifts_is_followed_and_nobody_else_is_asked(clocks):
    for _ in range(10):
        clocks.redis_off += 1500
        assert clocks.read() == Reading(clocks.now + clocks.redis_off)
    assert clocks.asked == 0


def test_a_step_forward_of_redis_alone_is_not_followed(clocks):
    clocks.redis_off = HOUR
    assert [clocks.read() for _ in range(3)][-1] == Reading(clocks.now)


def test_a_step_back_of_redis_alone_is_not_followed_and_said(clocks):
    clocks.redis_off = -HOUR
    assert clocks.read() == Reading(clocks.now, behind=True)
    clocks.redis_off = 0
    assert clocks.read() == Reading(clocks.now)


@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_a_step_that_the_database_has_made_too_is_followed(clocks, off):
    clocks.redis_off = clocks.database_off = off
    assert clocks.read() == Reading(clocks.now + off)


def test_a_host_that_slept_follows_the_clock_at_once(clocks):
    """Its monotonic clock stood still meanwhile, both servers' did not."""
    clocks.redis_off = clocks.database_off = 8 * HOUR
    assert clocks.read(after_ms=1) == Reading(clocks.now + 8 * HOUR)


def test_a_clock_that_was_wrong_from_the_start_is_followed_when_it_is_put_right():
    clocks = Clocks()
    clocks.redis_off = -HOUR
    clocks.read()
    clocks.redis_off = 0
    assert clocks.read() == Reading(clocks.now)


def test_while_the_two_differ_the_database_is_asked_once_a_second(clocks):
    clocks.redis_off = HOUR
    for _ in range(100):
        clocks.read(after_ms=50)
    assert clocks.asked == 5
