from tickstockpl.workers.partition.numbering import Numbering

from .test_partition_state import NO_MARKS, Feed, apply, closed, new_state


def numbered(*symbols):
    numbering = Numbering()
    for symbol in symbols:
        numbering.code(symbol)
    return numbering


def test_symbols_fit_in_the_order_of_their_numbers_with_new_ones_behind():
    assert numbered("A", "B", "C").fits(["A", "C", "D"])
    assert numbered().fits(["B", "A"])
    assert not numbered("A", "B").fits(["B", "A"])
    assert not numbered("A", "B").fits(["A", "D", "B"])  # D would be numbered behind B


def kept_state(*symbols):
    """Return the saved bytes of open bars of some symbols, which came in this order."""
    state = new_state()
    apply(state, Feed().body(*((symbol, 1, 10, 1) for symbol in symbols), born=1), at=1)
    return state.save([], NO_MARKS, {})


def loaded(saved, numbering):
    state = new_state()
    state.numbering = numbering
    state.load(saved)
    return state


def open_symbols(state):
    return [state.symbols[code] for code in state.feeds["live"].bars["symbol"].tolist()]


def test_a_restored_state_goes_on_with_the_numbers_that_it_had():
    numbering = numbered("X", "A", "B")
    state = loaded(kept_state("A", "B"), numbering)
    assert state.symbols is numbering.names
    assert state.feeds["live"].bars["symbol"].tolist() == [1, 2]
    assert open_symbols(state) == ["A", "B"]
    apply(state, Feed("other").body(("C", 100, 10, 1), born=200), at=200)
    assert [(symbol, minute) for _, symbol, minute, *_ in closed(state)] == [("A", 0), ("B", 0), ("C", 1)]


def test_numbers_of_another_order_are_given_up_for_the_saved_one():
    numbering = numbered("B", "A")
    state = loaded(kept_state("A", "B"), numbering)
    assert state.symbols is not numbering.names
    assert open_symbols(state) == ["A", "B"]
