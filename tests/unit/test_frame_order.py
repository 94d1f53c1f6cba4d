import pytest
from tickstockpl.contracts.errors import BadFrame
from tickstockpl.contracts.frames.frame import Frame
from tickstockpl.contracts.partition import Position
from tickstockpl.workers.partition.frame_order import Arrival, FrameOrder


def arrival(previous: int, last: int, ms: int = 0, producer: str = "p") -> Arrival:
    frame = Frame(1, producer, "live", "live", previous, last, 0, 0, False, last - previous, ["A"], [], "none", b"", [])
    return Arrival(frame, Position(ms or last, 0))


def numbers(arrivals: list[Arrival]) -> list[tuple[int, int]]:
    return [(a.frame.previous, a.frame.last) for a in arrivals]


def test_frames_in_order_are_applied_at_once():
    order = FrameOrder("live")
    assert numbers(order.accept(arrival(0, 10)) + order.accept(arrival(10, 20))) == [(0, 10), (10, 20)]
    assert order.number == 20


def test_a_repeated_frame_is_dropped():
    order = FrameOrder("live", number=20)
    assert order.accept(arrival(10, 20)) == []


def test_a_frame_ahead_of_a_hole_waits_until_the_hole_is_filled():
    order = FrameOrder("live")
    assert order.accept(arrival(20, 30)) == []
    assert order.accept(arrival(10, 20)) == []
    assert (order.number, order.seen, len(order.held)) == (0, 30, 2)
    assert numbers(order.accept(arrival(0, 10))) == [(0, 10), (10, 20), (20, 30)]
    assert order.held == {}


def test_the_position_stays_below_the_earliest_held_frame_of_the_stream():
    order = FrameOrder("live")
    order.accept(arrival(20, 30, ms=5))
    order.accept(arrival(10, 20, ms=7))
    assert order.first_held == Position(5, 0)


def test_a_hole_given_up_is_applied_once_if_it_comes_after_all():
    order = FrameOrder("live", number=10)
    order.accept(arrival(30, 40))
    hole, ready = order.give_up()
    assert (hole, numbers(ready), order.number) == ((10, 30), [(30, 40)], 40)
    assert numbers(order.accept(arrival(10, 20))) == [(10, 20)]
    assert order.lost == [(20, 30)]
    assert order.accept(arrival(10, 20)) == []
    assert numbers(order.accept(arrival(20, 30))) == [(20, 30)]
    assert order.lost == []


def test_the_earliest_of_what_still_waits_is_known_when_what_came_before_it_was_applied():
    order = FrameOrder("live")
    for frame in (arrival(30, 40, ms=9), arrival(10, 20, ms=5), arrival(50, 60, ms=7)):
        order.accept(frame)
    assert order.held_since_ms == 5
    assert numbers(order.accept(arrival(0, 10, ms=11))) == [(0, 10), (10, 20)]
    assert order.held_since_ms == 7
    assert order.give_up()[0] == (20, 30)
    assert order.held_since_ms == 7
    assert order.give_up()[0] == (40, 50)
    assert order.held == {}
    order.accept(arrival(70, 80, ms=12))
    assert order.held_since_ms == 12


@pytest.mark.timeout(120)  # to look through all for each of them would take hours
def test_a_hundred_thousand_frames_each_behind_its_own_hole_are_given_up():
    order = FrameOrder("live")
    for n in range(100_000, 0, -1):
        order.accept(arrival(2 * n - 1, 2 * n))
    given_up = []
    while order.held:
        assert order.held_since_ms == order.number + 2
        hole, ready = order.give_up()
        given_up.append((hole, numbers(ready)))
    assert given_up == [((2 * n - 2, 2 * n - 1), [(2 * n - 1, 2 * n)]) for n in range(1, 100_001)]


def test_an_overlapping_frame_of_the_front_door_brings_only_its_rows_above_what_is_applied():
    order = FrameOrder("live", number=15)
    (only,) = order.accept(arrival(10, 20, producer="front-door"))
    assert (only.above, order.number) == (15, 20)


def test_an_overlapping_frame_without_row_ids_is_refused():
    with pytest.raises(BadFrame, match="overlap"):
        FrameOrder("live", number=15).accept(arrival(10, 20))


def test_held_frames_that_overlap_are_taken_out_and_take_no_numbers():
    order = FrameOrder("live")
    order.accept(arrival(3, 6))
    order.accept(arrival(5, 9))
    assert numbers(order.accept(arrival(0, 3))) == [(0, 3), (3, 6)]
    assert (numbers(order.overlapping), order.number, order.held_bytes) == ([(5, 9)], 6, 0)


def test_a_producer_keeps_its_last_thousand_lost_ranges():
    order = FrameOrder("live")
    for n in range(1005):
        order.accept(arrival(2 * n + 1, 2 * n + 2))
        order.give_up()
    assert (len(order.lost), order.lost[0], order.lost[-1]) == (1000, (10, 11), (2008, 2009))
