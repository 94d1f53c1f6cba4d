from types import SimpleNamespace

from tickstockpl.contracts.partition import Position
from tickstockpl.workers.lookout import Lookout
from tickstockpl.workers.partition_reader import Look

from ..fake_world import FakeWorld
from .test_partition_state import Feed, apply, new_state


def test_holes_behind_a_hole_that_was_read_twice_were_read_twice_too():
    lookout, state, feed = Lookout(None, {}.get, world=FakeWorld().world), new_state(), Feed()
    frames = [feed.body(("A", s, 10, 1), born=s) for s in range(1, 7)]
    apply(state, frames[0], frames[2], frames[4], at=9)  # 2 and 4 are missing
    assert lookout.new_holes(state) == ["p"]
    lookout.read_again(state)
    assert lookout.new_holes(state) == []
    state.give_up_holes(10**15, hole_wait_ms=0, now_ns=0)  # the first one: the second is no new one
    assert lookout.new_holes(state) == []
    again = new_state()
    apply(again, frames[0], frames[2], frames[4], at=9)  # restored before the commit
    assert lookout.new_holes(again) == []


def test_a_partition_rests_after_a_look_in_vain_ten_times_as_long_as_that_took():
    fake = FakeWorld()
    fake.now_s = 100.0
    state = new_state()
    look = Look({"dead": 5}, 0, Position(0, 0), aside=False)
    reader = SimpleNamespace(restoring={}, look=lambda partitions: dict.fromkeys(partitions, look))
    lookout = Lookout(reader, lambda *_: None, world=fake.world)

    def odd_at(seconds):
        fake.now_s = seconds
        return lookout.check({0: state}, 0)

    assert odd_at(100.0) == {}  # what was sent is compared with what the next reads bring
    assert odd_at(102.0) == {0: "unread frames"}
    assert lookout.unread(state, look.sent, in_vain=True) == ["dead"]
    lookout.rest(0, 3.0)
    look.sent["dead, too"] = 7  # meanwhile
    assert [odd_at(at) for at in (104.0, 115.0, 131.9)] == [{}, {}, {}]
    assert odd_at(133.0) == {0: "unread frames"}


def test_a_look_in_vain_for_one_producer_is_one_for_all_that_lack():
    fake = FakeWorld()
    fake.now_s = 100.0
    state, lookout = new_state(), Lookout(None, lambda *_: None, world=fake.world)
    assert lookout.unread(state, {"first": 5}, in_vain=True) == ["first"]
    fake.now_s = 109.0  # a second before the first one is looked for again, another is found to lack
    assert lookout.unread(state, {"first": 5, "second": 7}) == ["second"]
    assert lookout.unread(state, {"first": 5, "second": 7}, in_vain=True) == ["first", "second"]
    fake.now_s = 118.0
    assert lookout.unread(state, {"first": 5, "second": 7}) == []
    fake.now_s = 119.0
    assert lookout.unread(state, {"first": 5, "second": 7}) == ["second"]
    fake.now_s = 129.0
    assert lookout.unread(state, {"first": 5, "second": 7}) == ["first", "second"]
