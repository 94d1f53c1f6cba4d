"""Which histories fit which committed state: they are kept only where every bar in them is durable."""

from dataclasses import replace
from itertools import count

import pytest
from tickstockpl.workers.commit.find.histories import Histories
from tickstockpl.workers.commit.plan import plan_partition

from .test_partition_state import commit, new_state

TOKENS = count(100)


@pytest.fixture
def histories():
    return Histories()


@pytest.fixture
def state():
    return new_state()


def restored(state, token):
    """Return a partition as a restore finds it, with this token."""
    again = new_state()
    again.held, again.numbering = replace(state.held, token=token), state.numbering
    return again


def test_a_restore_that_finds_the_same_token_keeps_the_histories(histories, state):
    kept = histories.of(state)
    assert histories.of(restored(state, state.held.token)) is kept


def test_a_token_that_another_moved_drops_them(histories, state):
    kept = histories.of(state)
    assert histories.of(restored(state, state.held.token + 1)) is not kept


def test_a_commit_that_failed_drops_what_it_put_in(histories, state):
    plan = plan_partition(state, next(TOKENS))
    histories.lend(plan)
    assert histories.of(restored(state, state.held.token)) is not plan.detector


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_commit_that_went_through_keeps_them_also_where_its_answer_was_lost(histories, state, is_answered):
    plan = plan_partition(state, next(TOKENS))
    histories.lend(plan)
    if is_answered:
        state.committed(plan.position, plan.closed, plan.marks, plan.waiting, held=plan.held_after)
    else:
        state = restored(state, plan.new_token)
    assert histories.of(state) is plan.detector


def test_bars_that_are_held_back_fit_only_the_commit_that_brings_them(histories, state):
    first = plan_partition(state, next(TOKENS))
    histories.lend(first)
    histories.hold_back(first)
    state.committed(first.position, first.closed, first.marks, first.waiting, held=first.held_after)
    rest = plan_partition(state, next(TOKENS))
    histories.lend_rest(rest)
    assert rest.detector is first.detector
    assert histories.of(restored(state, rest.new_token)) is first.detector
    assert histories.of(restored(state, first.new_token)) is not first.detector


def test_a_rest_that_was_never_planned_drops_them(histories, state):
    plan = plan_partition(state, next(TOKENS))
    histories.lend(plan)
    histories.hold_back(plan)
    assert histories.of(restored(state, plan.new_token)) is not plan.detector


def test_a_partition_that_comes_back_begins_without(histories, state):
    kept = histories.of(state)
    histories.leave(state.partition)
    assert histories.of(state) is not kept


def test_other_numbers_of_the_symbols_drop_them(histories, state):
    kept = histories.of(state)
    other = new_state()
    assert other.held.token == state.held.token
    assert histories.of(other) is not kept
    assert commit(other) == []
