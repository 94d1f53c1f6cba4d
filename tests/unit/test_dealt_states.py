import numpy as np
from tickstockpl.contracts.bar import BAR_DTYPE
from tickstockpl.contracts.partition import partition_of
from tickstockpl.workers.marks import NEW, marks_of
from tickstockpl.workers.partition.dealt_states import deal, producers_of
from tickstockpl.workers.partition.feed_bars import FeedBars
from tickstockpl.workers.partition.frame_order import FrameOrder
from tickstockpl.workers.partition.saved_state import LoadedState, load_state

SYMBOLS = ["IBM", "BAC", "AIG", "SPY"]


def bars(*rows):
    made = np.zeros(len(rows), BAR_DTYPE)
    for i, (code, minute, close) in enumerate(rows):
        made[i]["symbol"], made[i]["minute"], made[i]["close"] = code, minute, close
    return made


def marks(*codes):
    return marks_of(np.array(codes, "<i4"), np.full(len(codes), 7), NEW, publish=True)


def state(symbols, rows, marked, *, clock_ns, producer="p", waiting=()):
    book = FeedBars(False, False, producer, True, bars(*rows), marks(*waiting), clock_ns, delay_ms=clock_ns)
    return LoadedState(symbols, {producer: FrameOrder("live", 5)}, {"live": book}, marks(*marked))


def dealt(states, partitions):
    flows = {p: {"p": FrameOrder("live", p + 1, ended=True)} for p in range(partitions)}
    return [load_state(one.state, p) for p, one in enumerate(deal(states, partitions, flows))]


def test_each_row_goes_where_its_symbol_goes():
    homes = {n: {s: partition_of(s, n) for s in SYMBOLS} for n in (2, 3)}
    states = [
        state(["IBM", "BAC"], [(0, 8, 1.0), (1, 8, 2.0)], [1], clock_ns=10, waiting=[0]),
        state(["SPY", "AIG"], [(0, 9, 3.0), (1, 8, 4.0)], [0, 1], clock_ns=20, producer="q"),
    ]
    for partitions in (2, 3):
        made = dealt(states, partitions)
        found = {
            (p, one.symbols[row["symbol"]], int(row["minute"]), float(row["close"]))
            for p, one in enumerate(made)
            for row in one.feeds["live"].bars
        }
        expected = {("IBM", 8, 1.0), ("BAC", 8, 2.0), ("SPY", 9, 3.0), ("AIG", 8, 4.0)}
        assert found == {(homes[partitions][symbol], symbol, *rest) for symbol, *rest in expected}
        marked = [{one.symbols[code] for code in one.marks["symbol"]} for one in made]
        assert set().union(*marked) == {"BAC", "SPY", "AIG"}
        assert all(homes[partitions][symbol] == p for p, mine in enumerate(marked) for symbol in mine)
        waiting = {one.symbols[code] for one in made for code in one.feeds["live"].waiting["symbol"]}
        assert waiting == {"IBM"}


def test_a_feed_goes_on_everywhere_with_the_latest_of_its_clocks():
    states = [state(["IBM"], [(0, 8, 1.0)], [], clock_ns=10), state(["AIG"], [], [], clock_ns=20, producer="q")]
    books = [one.feeds["live"] for one in dealt(states, 4)]
    assert [(book.clock_ns, book.producer, book.delay_ms) for book in books] == [(20, "q", 20)] * 4
    assert producers_of(states) == {"p": "live", "q": "live"}


def test_nothing_is_known_of_producers_but_what_is_given():
    [first, second] = dealt([state(["IBM"], [], [], clock_ns=1)], 2)
    assert {name: (flow.number, flow.ended) for name, flow in first.flows.items()} == {"p": (1, True)}
    assert {name: (flow.number, flow.ended) for name, flow in second.flows.items()} == {"p": (2, True)}


def test_states_of_a_stream_that_was_never_used_are_empty():
    assert [(one.symbols, one.feeds) for one in dealt([], 2)] == [([], {}), ([], {})]
