from collections import Counter, defaultdict
from dataclasses import astuple

import numpy as np
from foreign import START_MS, START_NS, foreign_frames
from fuzzing import first_words, fuzz
from hypothesis import strategies as st
from tickstockpl.contracts.bar import has_prices
from tickstockpl.contracts.errors import BadFrame
from tickstockpl.contracts.frames.frame import are_alike, decode, ticks_of, ticks_of_alike
from tickstockpl.contracts.frames.maker import Identity, make_frame
from tickstockpl.contracts.lease import Lease
from tickstockpl.contracts.partition import START
from tickstockpl.contracts.ticks import Ticks
from tickstockpl.workers.marks import NO_MARKS
from tickstockpl.workers.partition.partition_state import Held, PartitionState
from tickstockpl.workers.partition.tick_check import Limits


def test_bytes_of_a_frame(tally):
    def check(body):
        try:
            frame = decode(body)
            read = ticks_of(frame)
            if are_alike([frame, frame]):
                assert len(ticks_of_alike([frame, frame])) == 2 * len(read)
        except BadFrame as e:
            tally.note(first_words(e))
        else:
            assert len(read) == frame.count
            tally.note(f"value: {frame.kind} of {'the front door' if frame.producer[0] == 'f' else 'a producer'}")

    fuzz(tally, foreign_frames(), check, examples=2500)


# -- many frames, in any order, through a partition -------------------------------------------------------------------


class Shadow:
    """A partition as its worker drives it: applied, committed, restored; what it committed is kept here."""

    def __init__(self):
        self.entries = []
        self.saved, self.position = None, START
        self.counts = defaultdict(Counter)
        self.letters = 0
        self.bars = Counter()  # (feed, symbol) -> trades
        self.restore()

    def restore(self):
        self.state = PartitionState(Held(0, Lease("partition:0", 1), 7), position=self.position, limits=Limits())
        self.state.load(self.saved)
        self.apply([entry for entry in self.entries if ms_of(entry) > self.position.ms])

    def read(self, bodies):
        new = [(f"{START_MS + len(self.entries) + i}-0".encode(), body) for i, body in enumerate(bodies)]
        self.entries += new
        self.apply(new)

    def apply(self, entries):
        while entries:
            entries = entries[self.state.apply(entries, now_ns=0, finished=lambda _: None, most_rows=4) :]

    def give_up(self):
        self.state.give_up_holes(START_MS + 10**7, hole_wait_ms=0, now_ns=0)

    def commit(self):
        state = self.state
        if state.uncommitted.undos:
            state.take_back(lambda: (entry for entry in self.entries if ms_of(entry) <= state.read_to.ms))
        for name, counts in state.uncommitted.counts.items():
            assert counts.ticks_in == sum(astuple(counts)[1:]), (name, counts)
            self.counts[name].update(dict(zip(counts.__dataclass_fields__, astuple(counts), strict=True)))
            assert name in state.flows
        self.letters += len(state.uncommitted.dead_letters)
        closed, position = state.closed(), state.safe_position
        for feed, book in state.feeds.items():
            expect_sane(book.bars)
            self.note_bars(feed, state.symbols, next((c.rows for c in closed if c.feed == feed), None))
        self.saved = state.save(closed, NO_MARKS, {})
        state.committed(position, closed, NO_MARKS, {}, held=state.held)
        self.position = position

    def note_bars(self, feed, symbols, bars):
        for bar in bars if bars is not None else ():
            self.bars[feed, symbols[bar["symbol"]]] += int(bar["trades"])

    def trades_of(self, symbol):
        still_open = sum(
            int(bar["trades"])
            for book in self.state.feeds.values()
            for bar in book.bars
            if self.state.symbols[bar["symbol"]] == symbol
        )
        return still_open + sum(count for (_, name), count in self.bars.items() if name == symbol)


def ms_of(entry):
    return int(entry[0].partition(b"-")[0])


def expect_sane(bars):
    priced = bars[has_prices(bars)]
    for name in ("open", "high", "low", "close", "volume_micro", "notional"):
        values = priced[name]
        bound = np.isfinite(values) | (name in ("high", "low"))  # an odd lot sets no extremes
        assert bound.all(), priced
    assert (bars["volume_micro"] >= 0).all()
    assert (priced["high"] >= priced["low"]).all() or not np.isfinite(priced["high"]).all()


OWN_SYMBOLS = {"p": "OWN1", "q": "OWN2"}


@st.composite
def own_frames(draw, producer, feed="live"):
    """Draw the frames of a producer of ours, some of them more than once, in any order; and how many ticks they are."""
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    number, bodies = 0, []
    for length in lengths:
        bodies.append(own_frame(producer, feed, number, length))
        number += length
    order = draw(st.permutations(bodies))
    again = draw(st.lists(st.sampled_from(bodies), max_size=3))
    return [*order[:1], *again, *order[1:]], number


def own_frame(producer, feed, number, length):
    ts = START_NS + (number + np.arange(length)) * 10**9
    made = Ticks([OWN_SYMBOLS[producer]], np.zeros(length, "<u2"), ts, np.full(length, 10.0), np.full(length, 2.0))
    return make_frame(Identity(producer, feed, "live"), made, "live", number, number + length, START_MS + 1000)


def is_harmless(body):
    """Tell whether a stranger's entry is none that a worker must take for one of p and q: who may write, may lie."""
    try:
        frame = decode(body)
    except BadFrame:
        return True
    return frame.producer not in OWN_SYMBOLS and not (frame.is_replay and frame.feed == "live")


@st.composite
def mixtures(draw):
    first, first_ticks = draw(own_frames("p"))
    second, second_ticks = draw(own_frames("q"))
    foreign = draw(st.lists(foreign_frames(odd=0.05).filter(is_harmless), max_size=8))
    bodies = [*first, *second, *foreign]
    order = draw(st.permutations(range(len(bodies))))
    steps = draw(st.lists(st.sampled_from(["read", "read", "commit", "restore"]), min_size=3, max_size=8))
    return [bodies[i] for i in order], steps, (first_ticks, second_ticks)


def test_frames_of_two_producers(tally):
    def check(mixture):
        bodies, steps, expected = mixture
        shadow = Shadow()
        for step in steps:
            if step == "read":
                shadow.read(bodies[:3])
                bodies = bodies[3:]
            elif step == "commit":
                shadow.commit()
            else:
                shadow.restore()
        shadow.read(bodies)
        for producer in OWN_SYMBOLS:
            assert not shadow.state.flows[producer].held
        shadow.commit()
        shadow.give_up()
        shadow.commit()
        for (producer, symbol), ticks in zip(OWN_SYMBOLS.items(), expected, strict=True):
            assert shadow.counts[producer]["ticks_in"] == shadow.counts[producer]["applied"] == ticks
            assert shadow.trades_of(symbol) == ticks
        outcomes = [name for counts in shadow.counts.values() for name, count in counts.items() if count]
        tally.note(*outcomes, *(["dead letters"] if shadow.letters else []))

    fuzz(tally, mixtures(), check, examples=250, round_size=100)


def test_frames_of_strangers_alone(tally):
    def check(drawn):
        bodies, gives_up = drawn
        shadow = Shadow()
        for first in range(0, len(bodies), 4):
            shadow.read(bodies[first : first + 4])
            shadow.commit()
            if gives_up:
                shadow.give_up()
        shadow.commit()
        numbers = {name: flow.number for name, flow in shadow.state.flows.items()}
        tally.note(
            "dead letters" if shadow.letters else "none refused",
            *(name for counts in shadow.counts.values() for name, count in counts.items() if count),
            "numbers moved" if any(numbers.values()) else "no number moved",
        )

    bodies = st.lists(foreign_frames(odd=0.03), max_size=12)
    fuzz(tally, st.tuples(bodies, st.booleans()), check, examples=300, round_size=100)
