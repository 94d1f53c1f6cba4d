"""What flat files speak of."""

import numpy as np
from tickstockpl.contracts.ticks import concat
from tickstockpl.producer.coverage import Coverage
from tickstockpl.producer.replay import ReplaySource

DAY = 86_400 * 10**9
AT = 1_749_132_000 * 10**9  # 2025-06-05T14:00:00Z


def spans(*files):
    """Return (symbol, first, last), times since AT, of files of rows (symbol, time since AT)."""
    coverage = Coverage()
    for file in files:
        coverage.begin_file()
        for first in range(0, len(file), 2):  # in blocks of two
            block = file[first : first + 2]
            symbols = sorted({symbol for symbol, _ in block})
            codes = np.array([symbols.index(symbol) for symbol, _ in block])
            coverage.note(symbols, codes, np.array([AT + at for _, at in block], "<i8"))
    return [(symbol, first - AT, last - AT) for symbol, first, last in coverage.spans()]


def test_a_file_by_time_speaks_of_all_its_symbols_from_its_first_row_to_its_last():
    assert spans([("A", 1), ("B", 2), ("A", 5), ("C", 9)]) == [("A", 1, 9), ("B", 1, 9), ("C", 1, 9)]


def test_the_first_and_the_last_ticker_of_a_grouped_file_may_be_cut():
    grouped = [("A", 5), ("A", 8), ("B", 2), ("B", 3), ("C", 1), ("C", 4)]
    assert spans(grouped) == [("A", 5, 8), ("B", 1, 8), ("C", 1, 4)]


def test_of_a_file_in_no_order_only_a_symbols_own_rows_are_sure():
    assert spans([("A", 5), ("B", 2), ("A", 8), ("B", 9)]) == [("A", 5, 8), ("B", 2, 9)]


def test_each_day_and_each_file_speaks_for_itself():
    assert spans([("A", 1), ("A", 3), ("A", 2 * DAY)], [("A", 5), ("A", 6)]) == [
        ("A", 1, 3), ("A", 2 * DAY, 2 * DAY), ("A", 5, 6),
    ]  # fmt: skip


def test_rows_that_are_left_out_or_refused_are_spoken_of(tmp_path):
    file = tmp_path / "file.csv"
    for count in (1, 300):  # read one by one, and at once
        middle = f"A,0,10,{AT + 5},1\n" * count
        text = f"ticker,correction,price,sip_timestamp,size\nA,8,10,{AT + 1},1\n{middle}A,0,-1,{AT + 9},1\n"
        file.write_text(text)
        source = ReplaySource([file])
        assert len(concat(source)) == count
        assert source.coverage.spans() == [("A", AT + 1, AT + 9)]
