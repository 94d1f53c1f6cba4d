"""When a worker commits closed bars: together with those that close within some ms, and without waiting for others."""

import pytest
from tickstockpl.workers.commit.commit_pacing import CommitPacing

from ..fake_world import FakeWorld

MS = 1_000_000
NEVER = 10**18


class Uncommitted:
    ticks = 0


class State:
    """A partition whose next bar closes in so many ns; 0: it is closed."""

    uncommitted = Uncommitted()

    def __init__(self, until_ns):
        self.until_ns = until_ns

    def has_news(self):
        return self.until_ns == 0

    def until_close_ns(self, _now_ns):
        return self.until_ns


@pytest.fixture
def fake():
    return FakeWorld()


@pytest.fixture
def pacing(fake):
    return CommitPacing(commit_s=1.0, world=fake.world)


def test_a_closed_bar_is_committed_at_once_if_no_other_closes_soon(pacing):
    assert pacing.is_due([State(0), State(NEVER), State(16 * MS)], caught_up=True)


def test_a_closed_bar_waits_for_one_that_closes_some_ms_later(pacing):
    other = State(4 * MS)
    assert not pacing.is_due([State(0), other], caught_up=True)
    other.until_ns = 0
    assert pacing.is_due([State(0), other], caught_up=True)


def test_a_closed_bar_waits_15_ms_at_most(pacing, fake):
    states = [State(0), State(4 * MS)]
    assert not pacing.is_due(states, caught_up=True)
    fake.now_s += 0.0151
    assert pacing.is_due(states, caught_up=True)


def test_a_closed_bar_waits_for_the_streams_ends(pacing):
    assert not pacing.is_due([State(0)], caught_up=False)
