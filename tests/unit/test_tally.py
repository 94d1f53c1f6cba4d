"""What a worker's counters make of a commit's counts."""

import pytest
from tickstockpl.contracts.lease import Lease
from tickstockpl.contracts.partition import START
from tickstockpl.contracts.ticks import Refused
from tickstockpl.db import metrics
from tickstockpl.workers.commit.plan import plan_partition
from tickstockpl.workers.commit.tally import Tally
from tickstockpl.workers.partition.partition_state import Held, PartitionState
from tickstockpl.workers.partition.tick_check import Limits
from tickstockpl.workers.partition.uncommitted import Counts, DeadLetter

PARTITION = 4001  # of no other test: the counters are the process's


@pytest.fixture
def state():
    return PartitionState(Held(PARTITION, Lease(f"partition:{PARTITION}", 1), 1), position=START, limits=Limits())


def value(metric, *labels):
    (sample,) = [
        s for s in (metric.labels(*labels) if labels else metric).collect()[0].samples if s.name[-6:] == "_total"
    ]
    return sample.value


def commit(tally, state, **counts):
    state.uncommitted.counts = {"one": Counts(**counts)}
    tally.add([plan_partition(state, 1)])


def test_a_partition_is_shown_from_zero():
    Tally().begin(PARTITION + 1)
    shown = [sample.labels.get("partition") for sample in metrics.TICKS_IN.collect()[0].samples]
    assert str(PARTITION + 1) in shown


def test_a_commits_counts_of_all_producers_are_added(state):
    applied = value(metrics.TICKS_APPLIED, PARTITION)
    state.uncommitted.counts = {"one": Counts(ticks_in=5, applied=5), "two": Counts(ticks_in=3, applied=2, too_late=1)}
    Tally().add([plan_partition(state, 1)])
    assert value(metrics.TICKS_APPLIED, PARTITION) == applied + 7


def test_what_a_commit_takes_back_is_set_against_what_follows(state):
    tally, applied, lost = Tally(), value(metrics.TICKS_APPLIED, PARTITION), value(metrics.TICKS_LOST)
    commit(tally, state, ticks_in=10, applied=10)
    commit(tally, state, applied=-4, lost=4)  # of a replay that was abandoned
    assert value(metrics.TICKS_APPLIED, PARTITION) == applied + 10
    commit(tally, state, ticks_in=3, applied=3)
    assert value(metrics.TICKS_APPLIED, PARTITION) == applied + 10
    commit(tally, state, ticks_in=3, applied=3)
    assert value(metrics.TICKS_APPLIED, PARTITION) == applied + 12
    assert value(metrics.TICKS_LOST) == lost + 4


def test_ticks_of_replaced_bars_are_superseded_and_set_against_those_that_are_applied_next(state):
    tally, applied, superseded = Tally(), value(metrics.TICKS_APPLIED, PARTITION), value(metrics.TICKS_SUPERSEDED)
    commit(tally, state, ticks_in=10, applied=10)
    tally.supersede({PARTITION: 6})
    assert value(metrics.TICKS_SUPERSEDED) == superseded + 6
    commit(tally, state, ticks_in=8, applied=8)
    assert value(metrics.TICKS_APPLIED, PARTITION) == applied + 12


def test_a_dead_letter_with_a_strangers_reason_is_other(state):
    other = value(metrics.DEAD_LETTERS, "other")
    state.uncommitted.dead_letters = [DeadLetter("one", Refused("made up by somebody", "", b""))]
    Tally().add([plan_partition(state, 1)])
    assert value(metrics.DEAD_LETTERS, "other") == other + 1
