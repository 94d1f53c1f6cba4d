from datetime import UTC, datetime

import pytest
from tickstockpl.contracts.partition import START, Position
from tickstockpl.db.look.lag import Committed, InRedis, Lag, Sent, lags, with_noted
from tickstockpl.db.look.redis_losses import forgotten_entries, forgotten_results, forgotten_ticks

SINCE, UNTIL = datetime(2025, 3, 4, 15, 0, 1, tzinfo=UTC), datetime(2025, 3, 4, 15, 2, 3, tzinfo=UTC)
EMPTY = InRedis({}, 0, None, None)


def noted(number, *, lives=False):
    return {0: {"p1": Sent(number, lives, SINCE, UNTIL)}}


def committed(number):
    return {0: {"p1": Committed(number, finished=False)}}


def test_what_redis_has_forgotten_waits_all_the_same_and_nobody_knows_how_long():
    found = with_noted({0: EMPTY, 1: EMPTY}, noted(800))
    assert lags({0: START, 1: START}, committed(500), found, 1_000) == {0: Lag(300, None), 1: Lag(0, 0.0)}


def test_what_redis_knows_beyond_the_note_counts():
    found = with_noted({0: InRedis({"p1": 900, "p2": 5}, 0, None, None)}, noted(800))
    assert found[0].sent == {"p1": 900, "p2": 5}


@pytest.mark.parametrize(
    ("number", "in_redis", "reached"),
    [(800, EMPTY, 800), (800, InRedis({"p1": 800}, 0, None, None), 0), (800, InRedis({"p1": 801}, 0, None, None), 0)],
    ids=["committed", "in the stream", "more in the stream"],
)
def test_what_is_committed_or_known_to_redis_is_not_forgotten(number, in_redis, reached):
    assert list(forgotten_ticks(committed(reached), noted(number), {0: in_redis})) == []


def test_ticks_of_a_producer_that_is_gone_are_lost_with_their_number_and_their_time():
    (found,) = forgotten_ticks(committed(500), noted(12_800), {0: InRedis({"p1": 700}, 0, None, None)})
    assert found.loses
    assert found.says == (
        "Redis has lost 12,100 ticks of p1, sent from 2025-03-04T15:00:01+00:00 to 2025-03-04T15:02:03+00:00: "
        "their producer has ended and cannot send them again"
    )


def test_ticks_of_a_producer_that_lives_are_not_lost():
    (found,) = forgotten_ticks({}, noted(800, lives=True), {0: EMPTY})
    assert (found.loses, "800 ticks of p1" in found.says, found.do) == (False, True, "their producer sends them again")


@pytest.mark.parametrize("last", [None, Position(1_741_100_000_000, 0)])
def test_a_stream_that_ends_before_what_is_committed_is_named_with_the_times(last):
    positions = {0: Position(1_741_100_060_000, 3), 1: Position(1_741_100_000_000, 0)}
    whole = InRedis({}, 1, Position(1_741_100_000_000, 0), None)
    (found,) = forgotten_entries(positions, {0: InRedis({}, 0, last, None), 1: whole})
    ends = "their start" if last is None else "2025-03-04T14:53:20+00:00"
    assert found.says == (
        f"the streams of partition 0 end before the committed position: at {ends}, not 2025-03-04T14:54:20+00:00"
    )
    assert not found.loses


def test_a_position_that_a_stranger_chose_is_named_as_it_is():
    (found,) = forgotten_entries({0: Position(2**64 - 1, 2**64 - 1)}, {0: EMPTY})
    assert "not 18446744073709551615-18446744073709551615" in found.says


def test_results_that_the_bridge_has_said_and_redis_lacks_are_named():
    assert list(forgotten_results({0: 5, 1: 7}, {0: 5, 1: 8})) == []
    (found,) = forgotten_results({0: 5, 1: 7}, {0: 5, 1: 0})
    assert "partition 1" in found.says
