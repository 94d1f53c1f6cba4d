"""When Redis's clock showed a reading, by the worker's own clock: the fastest reply tells it best."""

import pytest
from tickstockpl.workers.redis_clock import RedisClock

from ..fake_world import START_S, FakeWorld

UNIX_MS, MS, HOUR_MS = 1_760_000_000_000, 1_000_000, 3_600_000


class Reads:
    """Reads of a clock that is right at START_S; PostgreSQL's goes with it."""

    def __init__(self):
        self.fake, self.off_ms = FakeWorld(), 0
        self.clock = RedisClock(None, world=self.fake.world)
        self.clock.steady._witness_ms = lambda: UNIX_MS + round((self.fake.now_s - START_S) * 1000)

    def read(self, after_s, *, late_ms=0):
        """Read some time after the last reply; return how many ms after it the reading is taken to have been."""
        redis_ms = UNIX_MS + round((self.fake.now_s + after_s - START_S) * 1000) + self.off_ms
        before_ns, self.fake.now_s = round(self.fake.now_s * 1e9), self.fake.now_s + after_s + late_ms / 1000
        self.clock.read(redis_ms)
        return (self.clock.read_at_ns - before_ns) / MS


@pytest.fixture
def reads():
    reads = Reads()
    reads.read(0)
    return reads


def test_a_reply_that_came_late_does_not_make_its_reading_late(reads):
    assert reads.read(1, late_ms=30) == pytest.approx(1000, abs=0.2)


def test_a_faster_reply_is_believed_at_once():
    reads = Reads()
    reads.read(0, late_ms=30)
    assert reads.read(1) == pytest.approx(1000)


def test_two_clocks_that_drift_apart_are_followed(reads):
    for _ in range(100):
        reads.off_ms -= 0.05
        reads.read(1)
    assert reads.read(1) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
def test_a_step_of_redis_changes_no_moment(reads, step_ms):
    reads.off_ms = step_ms
    assert reads.read(1) == pytest.approx(1000)
    reads.off_ms = 0
    assert reads.read(1) == pytest.approx(1000)
