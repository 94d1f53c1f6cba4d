"""The front door's frames on their way to a partition."""

import pytest
from tickstockpl.workers.door.door_way import DoorWay, Made


@pytest.fixture
def way():
    """Give a way with three frames that were sent; they are committed up to 20."""
    way = DoorWay()
    way.restart(10)
    for last in (20, 30, 40):
        frame = Made(0, last, b"")
        way.unsent.append(frame)
        way.previous = last
        way.stamp(frame)
        way.note_taken(frame)
    way.note_done(20)
    return way


def lasts(way):
    return [frame.last for frame in way.unsent]


def test_frames_that_are_not_committed_can_be_sent_again(way):
    assert way.has_all_above(20)
    way.send_again(0)
    assert lasts(way) == [30, 40]


def test_only_frames_above_a_number_are_sent_again(way):
    way.send_again(30)
    assert lasts(way) == [40]


def test_frames_that_are_sent_again_go_before_those_that_wait(way):
    way.unsent.append(Made(0, 50, b""))
    way.send_again(0)
    assert lasts(way) == [30, 40, 50]


def test_frames_of_before_the_beginning_are_not_in_memory(way):
    assert not way.has_all_above(10)


def test_a_number_above_all_frames_drops_nothing(way):
    way.note_done(10**15)
    assert way.has_all_above(20)
    way.send_again(0)
    assert lasts(way) == [30, 40]


def test_the_number_beside_a_frame_that_is_sent_again_is_the_highest_that_was_sent(way):
    way.send_again(0)
    assert way.stamp(way.unsent[0]).sent.startswith("40,")


def test_a_restart_forgets_all_frames(way):
    way.restart(15)
    way.send_again(0)
    assert lasts(way) == []
    assert way.has_all_above(15)
