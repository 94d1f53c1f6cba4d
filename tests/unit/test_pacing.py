import pytest
from tickstockpl.workers.bridge import pacing
from tickstockpl.workers.bridge.pacing import Pacing

EVENTS = "tickstock.events.patterns"
PATTERNS = "tickstock:patterns:streaming"
INDICATORS = "tickstock:indicators:streaming"


def said(channel, *names):
    return [(channel, name) for name in names]


def test_without_a_rate_nothing_waits():
    unpaced = Pacing(None)
    assert unpaced.hold_back(0, 1, said(PATTERNS, b"a", b"b")) == said(PATTERNS, b"a", b"b")
    assert unpaced.release(100.0) == []
    assert unpaced.done(0, 1) == 1


def test_only_the_streaming_channels_wait():
    paced = Pacing(1.0)
    row = [(EVENTS, b"e"), (PATTERNS, b"p"), ("tickstock:patterns:detected", b"d")]
    assert paced.hold_back(0, 1, row) == [(EVENTS, b"e"), ("tickstock:patterns:detected", b"d")]
    assert paced.hold_back(0, 2, said(INDICATORS, b"i")) == []


def test_messages_leave_in_their_order_at_the_rate_of_their_channel():
    paced = Pacing(10.0)
    paced.hold_back(0, 1, said(PATTERNS, b"a", b"b", b"c", b"d"))
    paced.hold_back(1, 7, said(INDICATORS, b"x", b"y"))
    assert paced.release(50.0) == []
    assert paced.release(50.1) == [(PATTERNS, b"a"), (INDICATORS, b"x")]
    assert paced.release(50.125) == []
    assert paced.release(50.25) == [(PATTERNS, b"b"), (INDICATORS, b"y")]
    assert paced.release(50.5) == said(PATTERNS, b"c", b"d")


def test_a_long_pause_saves_up_a_quarter_of_a_second():
    paced = Pacing(80.0)
    paced.hold_back(0, 1, said(PATTERNS, *(b"%d" % n for n in range(100))))
    paced.release(0.0)
    assert len(paced.release(3600.0)) == 20


def test_turn_after_turn_the_rate_is_kept():
    paced = Pacing(64.0)
    paced.hold_back(0, 1, said(PATTERNS, *(b"%d" % n for n in range(1000))))
    assert [len(paced.release(turn / 16)) for turn in range(33)] == [0, *[4] * 32]


def test_a_partition_is_done_below_the_first_row_that_waits():
    paced = Pacing(10.0)
    paced.hold_back(0, 3, said(PATTERNS, b"a"))
    paced.hold_back(0, 4, said(EVENTS, b"e"))
    paced.hold_back(0, 5, said(INDICATORS, b"x", b"y"))
    assert (paced.done(0, 5), paced.done(1, 9)) == (2, 9)
    paced.release(0.0)
    assert paced.release(0.1) == [(PATTERNS, b"a"), (INDICATORS, b"x")]
    assert paced.done(0, 5) == 4
    assert paced.release(0.2) == [(INDICATORS, b"y")]
    assert paced.done(0, 5) == 5


def test_what_was_forgotten_is_neither_said_nor_waited_for():
    paced = Pacing(10.0)
    paced.hold_back(0, 3, said(PATTERNS, b"a"))
    paced.clear()
    paced.release(0.0)
    assert paced.release(9.0) == []
    assert paced.done(0, 3) == 3


def test_all_that_waits_can_leave_at_once():
    paced = Pacing(0.1)
    paced.hold_back(0, 1, said(PATTERNS, b"a", b"b"))
    paced.hold_back(0, 2, said(INDICATORS, b"x"))
    assert paced.release_all() == [(PATTERNS, b"a"), (PATTERNS, b"b"), (INDICATORS, b"x")]
    assert paced.done(0, 2) == 2


@pytest.mark.parametrize(("waiting", "is_full"), [(2, False), (3, True)])
def test_a_queue_that_reached_its_bound_is_full(monkeypatch, waiting, is_full):
    monkeypatch.setattr(pacing, "_MAX_WAITING", 3)
    paced = Pacing(1.0)
    paced.hold_back(0, 1, said(INDICATORS, *(b"%d" % n for n in range(waiting))))
    assert paced.is_full is is_full
