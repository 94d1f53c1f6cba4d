"""Flat files as data frames, spreadsheets and copies of them write them."""

import gzip

import pytest
from tickstockpl.contracts.spellings.trade_key import trade_key
from tickstockpl.contracts.ticks import REPEATED, concat
from tickstockpl.producer.replay import ReplaySource

HEADER = "ticker,conditions,correction,exchange,id,price,sip_timestamp,size"
AT = 1_741_012_200_000_000_000  # 2025-03-03T14:30:00Z
FLOATS = "PDF,12.0,0.0,4.0,71675577320245.0,10.5,1.7410122e+18,100.0"


@pytest.fixture
def read(tmp_path):
    def read(*lines, header=HEADER, end="\n", rules="sip"):
        file = tmp_path / "file.csv"
        file.write_bytes(end.join([header, *lines, ""]).encode())
        source = ReplaySource([file], rules=rules)
        ticks = concat(source)
        return ticks, source

    return read


def values(ticks):
    symbols = [ticks.symbols[i] for i in ticks.symbol_index]
    return list(zip(symbols, ticks.ts.tolist(), ticks.price.tolist(), ticks.size.tolist(), strict=True))


@pytest.mark.parametrize("beside", [0, 1000])
@pytest.mark.parametrize(
    "line",
    [
        FLOATS,
        "PDF,12,0,4,71675577320245,10.5,1741012200000000000,100",
        "PDF,12.0,,4.0,7.1675577320245e+13,10.5,1741012200000000000.0,1e2",
        "PDF,12.0,nan,4.0,71675577320245.0,10.5,1.7410122e+18,100.0",
        "PDF,12,0,4, 71675577320245, 10.5, 1741012200000000000, 100",
        '"PDF","12","0","4","71675577320245","10.5","1741012200000000000","100"',
        "PDF , 12 , 0 , 4 , 71675577320245 , 10.5 , 1741012200000000000 , 100 ",
        'PDF, "12", "0", "4", "71675577320245", "10.5", "1741012200000000000", "100"',
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_means_the_same_however_its_numbers_are_written(read, line, beside, end):
    ticks, source = read(*[line] * (1 + beside), end=end)

    assert values(ticks) == [("PDF", AT, 10.5, 100.0)] * (1 + beside)
    assert ticks.optional["trade_key"].tolist() == [trade_key(4, "71675577320245")] * (1 + beside)
    # 12, Form T, in regular hours: volume only; and the same trade again.
    assert ticks.optional["flags"].tolist() == [4, *[REPEATED] * beside]
    assert (list(ticks.refused), source.rows_taken) == ([], 1 + beside)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (FLOATS.replace("0.0,4.0", "0.5,4.0"), "bad_row"),
        (FLOATS.replace("0.0,4.0", "False,4.0"), "bad_row"),
        (FLOATS.replace("1.7410122e+18", "nan"), "timestamp"),
        (FLOATS.replace("1.7410122e+18", "1.7410122e+09"), "timestamp"),
        (FLOATS.replace("1.7410122e+18", "1.7410122e+99"), "timestamp"),
        (FLOATS.replace("10.5", "nan"), "price"),
        (FLOATS.replace("100.0", "nan"), "size"),
        (FLOATS.replace("100.0", "4e-07"), "size"),
        (FLOATS.replace("PDF", "O:SPY250321C00600000"), "symbol"),
        (FLOATS.replace("PDF", "O:AAPL250321C00200000"), "symbol"),
    ],
)
def test_what_is_none_is_refused_and_the_rows_around_it_are_not(read, line, reason):
    ticks, source = read(*[FLOATS] * 300, line, *[FLOATS] * 300)

    assert len(ticks) == 600
    assert source.refused == {reason: 1}


def test_a_correction_written_as_a_float_is_left_out(read):
    ticks, source = read(FLOATS, FLOATS.replace("0.0,4.0", "8.0,4.0"))

    assert (len(ticks), source.rows_left_out) == (1, 1)


def test_the_names_of_the_columns_may_be_in_capitals_with_blanks_and_a_mark(read):
    ticks, _ = read(FLOATS, header="\ufeff" + HEADER.upper().replace(",", ", "))

    assert values(ticks) == [("PDF", AT, 10.5, 100.0)]


def test_a_column_of_an_index_and_empty_last_lines_do_no_harm(read):
    ticks, _ = read("0," + FLOATS, "1," + FLOATS, "", "", header="," + HEADER)

    assert len(ticks) == 2


def test_a_file_of_several_gzip_members_is_read_to_its_end(tmp_path):
    file = tmp_path / "members.csv.gz"
    file.write_bytes(b"".join(gzip.compress(f"{line}\n".encode()) for line in (HEADER, FLOATS, FLOATS)))

    assert len(concat(ReplaySource([file]))) == 2
