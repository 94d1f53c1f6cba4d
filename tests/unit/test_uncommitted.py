"""What a commit leaves of what happened before it: nothing but the entries that cannot be acked yet."""

from dataclasses import fields

from tickstockpl.contracts.gap import Hole
from tickstockpl.contracts.lease import Lease
from tickstockpl.contracts.partition import Position
from tickstockpl.contracts.ticks import Refused
from tickstockpl.workers.marks import NO_MARKS
from tickstockpl.workers.partition.early_undos import EarlyUndo
from tickstockpl.workers.partition.partition_state import Held
from tickstockpl.workers.partition.uncommitted import Counts, DeadLetter, EndedReplay, Uncommitted
from tickstockpl.workers.partition.undo import Undo

from .test_partition_state import new_state

HELD = Held(0, Lease("partition:0", 1), 8, outbox_number=3)
EARLY = EarlyUndo("live", "p", Undo("A", 7, 1, 10.0, 1.0, 0, ""), 0, 0)
FULL = {
    "counts": {"p": Counts(ticks_in=3, applied=3)},
    "dead_letters": [DeadLetter("p", Refused("price", "", b""))],
    "ended_replays": [EndedReplay("r", 2, abandoned=False)],
    "given_up": [Hole("live", 0, 1, 2, "p", 1)],
    "undos": [EARLY],
    "rebuilt": {"live": {(0, 1): 2}},
    "undone": {("live", "A", 1): [EARLY]},
    "heard": {"p"},
    "unacked": [b"5-0", b"7-1", b"7-2", b"9-0"],
    "repeats": 4,
    "ticks": 3,
    "arrived_ns": 9,
    "dirty": True,
}


def test_a_commit_leaves_nothing_but_the_entries_above_its_position():
    assert FULL.keys() == {one.name for one in fields(Uncommitted)}, "a new field: say here what it may hold"
    state = new_state()
    state.uncommitted = Uncommitted(**FULL)
    assert state.committed(Position(7, 1), [], NO_MARKS, {}, held=HELD) == [b"5-0", b"7-1"]
    assert state.held == HELD
    assert state.uncommitted == Uncommitted(unacked=[b"7-2", b"9-0"])


def test_refused_ticks_are_counted_by_their_reason():
    uncommitted = Uncommitted()
    uncommitted.refuse("p", [Refused(reason, "", b"") for reason in ("future", "too_late", "price", "size")])
    assert uncommitted.counts == {"p": Counts(refused=2, future=1, too_late=1)}
    assert [letter.refused.reason for letter in uncommitted.dead_letters] == ["future", "too_late", "price", "size"]
