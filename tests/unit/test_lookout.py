from tickstockpl.workers.lookout import Lookout

from .test_partition_state import Feed, apply, new_state


def test_holes_behind_a_hole_that_was_read_twice_were_read_twice_too():
    lookout, state, feed = Lookout(None, {}.get), new_state(), Feed()
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
