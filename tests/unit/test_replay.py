import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import CapturingLogger
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.spellings.flat_file import columns_in
from tickstockpl.contracts.ticks import concat
from tickstockpl.producer.replay import ReplaySource, content_hash

HEADER = (
    "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,"
    "trf_id,trf_timestamp"
)
NS = 1381154405535000000  # 2013-10-07T14:00:05.535Z
GOOD = f"IBM,4a00,0,4,,0,182.5,62720,{NS},100,1,0,0"


def line(ticker="IBM", price="182.5", size="100", *, time=str(NS), correction="0", conditions="1"):
    return f"{ticker},{conditions},{correction},4,,0,{price},1,{time},{size},1,0,0"


@pytest.fixture
def write(tmp_path):
    def write(*lines, name="trades.csv", header=HEADER, end="\n"):
        text = "\n".join([header, *lines]) + end
        raw = text.encode("utf-8", "surrogateescape")
        path = tmp_path / name
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write


@pytest.fixture
def real():
    folder = os.environ.get("TICKSTOCK_TEST_DATA")
    if not folder:
        pytest.skip("TICKSTOCK_TEST_DATA does not name a folder with flat files")
    return Path(folder)


def replayed(*files, **options):
    return concat(ReplaySource(files, **options))


def rows(ticks):
    symbols = [ticks.symbols[i] for i in ticks.symbol_index]
    return list(zip(symbols, ticks.ts.tolist(), ticks.price.tolist(), ticks.size.tolist(), strict=True))


def refused(ticks):
    return [(r.reason, r.detail.rpartition("/")[2].split(": ")[0]) for r in ticks.refused]


def test_rows_become_ticks_in_file_order(write):
    path = write(
        line("SPY", "167.41", "100"),
        line("BRK.B", "115.25", "0.5", time=str(NS + 1), conditions='"12,37"'),
        line("NA", "1", "3", time=str(NS - 1), conditions=""),
    )
    ticks = replayed(path, rules="all")
    assert rows(ticks) == [("SPY", NS, 167.41, 100.0), ("BRK.B", NS + 1, 115.25, 0.5), ("NA", NS - 1, 1.0, 3.0)]
    assert (dict(ticks.optional), list(ticks.refused)) == ({}, [])


def test_columns_are_found_by_name(write):
    path = write(f"x,7,{NS},1.5,A", header="extra,size,sip_timestamp,price,ticker")
    assert rows(replayed(path)) == [("A", NS, 1.5, 7.0)]


@pytest.mark.parametrize("header", ["\ufeff" + HEADER, HEADER + "\r", HEADER.replace("ticker", '"ticker"')])
def test_a_header_may_have_a_mark_quotes_or_a_carriage_return(write, header):
    assert rows(replayed(write(GOOD, header=header))) == [("IBM", NS, 182.5, 100.0)]


def test_the_last_line_may_lack_its_newline(write):
    assert len(replayed(write(GOOD, GOOD, end=""))) == 2


def test_lines_may_end_in_carriage_return_and_newline(write):
    assert len(replayed(write(GOOD + "\r", GOOD + "\r"))) == 2


def test_a_compressed_file_says_the_same_under_any_name(write, tmp_path):
    packed = write(GOOD, name="trades.csv.gz")
    packed.rename(tmp_path / "packed.csv")
    assert rows(replayed(tmp_path / "packed.csv")) == [("IBM", NS, 182.5, 100.0)]


def test_gzip_members_one_after_the_other_are_one_file(write):
    path = write(GOOD, name="trades.csv.gz")
    path.write_bytes(path.read_bytes() + gzip.compress(f"{GOOD}\n".encode()))
    assert len(replayed(path)) == 2


def test_files_follow_each_other(write):
    files = [write(line("A"), name="1.csv"), write(line("B"), name="2.csv.gz"), write(name="3.csv"), write(line("C"))]
    assert [symbol for symbol, *_ in rows(replayed(*files))] == ["A", "B", "C"]


def test_corrected_trades_are_left_out_and_counted(write):
    path = write(
        GOOD, line(correction="1"), line(correction="12", price="bad"), line(correction="00"), line(correction="")
    )
    source = ReplaySource([path], rules="all")
    assert len(concat(source)) == 3
    assert source.rows_left_out == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(ticker=""), "symbol"),
        (line(ticker="A" * 21), "symbol"),
        (line(ticker="A\x00"), "symbol"),
        (line(ticker="A\udcff"), "symbol"),
        (line(price=""), "price"),
        (line(price="0"), "price"),
        (line(price="-1"), "price"),
        (line(price="nan"), "price"),
        (line(price="inf"), "price"),
        (line(price="1e308"), "price"),
        (line(price="1_0"), "price"),
        (line(price="abc"), "price"),
        (line(size=""), "size"),
        (line(size="-1"), "size"),
        (line(size="1e14"), "size"),
        (line(size="many"), "size"),
        (line(time=""), "timestamp"),
        (line(time="0"), "timestamp"),
        (line(time="1381154405535"), "timestamp"),
        (line(time="1381154405.535"), "timestamp"),
        (line(time="9" * 19), "timestamp"),
        (line(time="9" * 40), "timestamp"),
        (line(correction="maybe"), "bad_row"),
        (GOOD + ",1", "bad_row"),
        ("IBM,1", "bad_row"),
        (" ", "bad_row"),
        (line(conditions='"12,37'), "bad_row"),
        (GOOD + "\r" + GOOD, "bad_row"),
    ],
)
@pytest.mark.parametrize("lines_before", [0, 1, 1500])
def test_a_bad_row_is_refused_with_its_line(write, bad, reason, lines_before):
    path = write(*[GOOD] * lines_before, bad, *[GOOD] * 1000)
    ticks = replayed(path)
    assert len(ticks) == lines_before + 1000
    assert refused(ticks) == [(reason, f"trades.csv:{lines_before + 2}")]
    assert ticks.refused[0].original == bad.encode("utf-8", "surrogateescape")
    assert ticks.refused[0].detail.startswith(f"{path}:{lines_before + 2}: ")


@pytest.mark.parametrize("block_bytes", [100, 1000, 8 << 20])
def test_line_numbers_hold_over_blocks_and_blank_lines(write, block_bytes):
    path = write(GOOD, "", line(price="x"), "\r", *[GOOD] * 700, line(size="-1"), "", line("MSFT"), "IBM")
    ticks = replayed(path, block_bytes=block_bytes)
    assert refused(ticks) == [("price", "trades.csv:4"), ("size", "trades.csv:706"), ("bad_row", "trades.csv:709")]
    assert [symbol for symbol, *_ in rows(ticks)] == ["IBM"] * 701 + ["MSFT"]


def test_a_row_of_size_zero_stays_whatever_its_price(write):
    path = write(line(size="0"), line(size="0", price="0"), line(size="0", price=""), line(size="0", price="none"))
    assert [(price, size) for _, _, price, size in rows(replayed(path))] == [(182.5, 0), (0, 0), (0, 0), (0, 0)]


def test_a_file_of_a_header_alone_yields_nothing(write):
    source = ReplaySource([write()])
    assert list(source) == []
    assert source.bytes_read == source.bytes_total


def test_progress_is_counted_in_bytes_on_the_disk(write):
    files = [write(*[GOOD] * 500, name="1.csv.gz"), write(*[GOOD] * 500, name="2.csv")]
    source = ReplaySource(files, block_bytes=4000)
    seen = [source.bytes_read for _ in source]
    assert source.bytes_total == sum(path.stat().st_size for path in files)
    assert seen == sorted(seen)
    assert source.bytes_read == source.bytes_total


def test_iterating_again_starts_anew(write):
    source = ReplaySource([write(GOOD, line(correction="1"))], rules="all")
    assert [len(concat(source)), len(concat(source))] == [1, 1]
    assert source.rows_left_out == 1


def broken(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: folder / "gone.csv", "No such file"),
        (lambda folder: folder, "Is a directory"),
        (lambda folder: broken(folder / "x.csv", b""), "empty"),
        (lambda folder: broken(folder / "x.csv.gz", gzip.compress(b"")), "empty"),
        (lambda folder: broken(folder / "x.csv", b"date,open\n1,2\n"), "lacks ticker, price, size, sip_timestamp"),
        (lambda folder: broken(folder / "x.csv", HEADER.replace("size", "ticker").encode()), "lacks size"),
        (lambda folder: broken(folder / "x.csv", HEADER.replace("tape", "price").encode()), "price twice"),
        (lambda folder: broken(folder / "x.csv", b'"ticker\n'), "not a CSV header"),
        (lambda folder: broken(folder / "x.csv", b"\x00\xff" * 100_000), "a binary file"),
        (lambda folder: broken(folder / "x.csv", b"x" * 200_000), "a line of more than"),
        (lambda folder: broken(folder / "x.csv.gz", b"\x1f\x8bnonsense"), "broken or cut off"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused_at_once_by_name(tmp_path, write, make, why):
    path = make(tmp_path)
    with pytest.raises(UsageError) as error:
        ReplaySource([write(GOOD, name="good.csv"), path])
    assert str(error.value).startswith(f"{path}: ")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a file"):
        ReplaySource([tmp_path / "pipe"])


def test_no_file_is_refused():
    with pytest.raises(UsageError, match="no file"):
        ReplaySource([])


@pytest.mark.parametrize("damage", [lambda raw: raw[:-40], lambda raw: raw[:-8] + bytes(8), lambda raw: raw + b"more"])
def test_a_damaged_gzip_gives_its_good_blocks_and_then_an_error_that_names_it(write, damage):
    times = np.random.default_rng(1).integers(NS, NS + 10**15, 20_000)
    path = write(*[line(time=str(time)) for time in times], name="trades.csv.gz")
    path.write_bytes(damage(path.read_bytes()))
    good = []
    with pytest.raises(UsageError, match=r"trades\.csv\.gz: broken or cut off"):
        good.extend(ReplaySource([path], block_bytes=50_000))
    ts = concat(good).ts
    assert 10_000 < len(ts) < 20_000
    np.testing.assert_array_equal(ts, times[: len(ts)])


def test_the_content_hash_is_that_of_the_text_and_the_options(write):
    plain, packed = write(GOOD, name="1.csv"), write(GOOD, name="2.csv.gz")
    other = write(GOOD, GOOD, name="3.csv")
    assert content_hash([plain], "x") == content_hash([packed], "x")
    different = [content_hash(*args) for args in (([plain], ""), ([plain], "x"), ([other], ""), ([plain, other], ""))]
    different += [content_hash([other, plain], "")]
    assert len(set(different)) == 5
    # sha256 of the file, a zero byte, its length in decimal digits, a zero byte, and the options
    text = broken(plain.with_name("4.csv"), b"abc")
    assert content_hash([text], "opt") == "c3234fb2b17974d826891b93ad663feb7de1988cda4e32a4e5d8592f2f1ad307"


@pytest.mark.parametrize("second", ["1.csv", "2.csv.gz", "3.csv", "link.csv"])
def test_the_same_content_twice_is_refused(write, second):
    first = write(GOOD, name="1.csv")
    write(GOOD, name="2.csv.gz")
    write(GOOD, name="3.csv")
    first.with_name("link.csv").hardlink_to(first)
    with pytest.raises(UsageError, match="have the same content"):
        content_hash([first, write(GOOD, GOOD, name="4.csv"), first.with_name(second)], "")


def test_the_content_hash_of_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        content_hash([tmp_path / "gone.csv"], "")


def test_the_tiny_real_file_has_2142_trades_of_ibm(real):
    ticks = replayed(real / "tiny_IBM_2013-10-07.csv")
    assert (len(ticks), list(ticks.symbols), list(ticks.refused)) == (2142, ["IBM"], [])
    assert rows(ticks)[0] == ("IBM", 1381154405535000000, 182.5, 100.0)


def test_the_real_day_has_388417_trades_of_four_symbols(real):
    source = ReplaySource([real / "2013-10-07.csv.gz"])
    ticks = concat(source)
    counts = np.bincount(ticks.symbol_index)
    assert dict(zip(ticks.symbols, counts.tolist(), strict=True)) == {
        "SPY": 250601,
        "BAC": 88172,
        "AIG": 25351,
        "IBM": 24293,
    }
    assert (list(ticks.refused), source.rows_left_out) == ([], 0)
    assert (np.diff(ticks.ts) >= 0).all()


# Trade rules


EARLY = 1381132800464000000  # 2013-10-07T04:00:00.464 in New York


def trade(conditions="", trade_id="", *, exchange="4", time=NS, correction="0", price="182.5"):
    return f'IBM,"{conditions}",{correction},{exchange},{trade_id},0,{price},1,{time},100,1,0,0'


def columns(ticks):
    return {name: column.tolist() for name, column in ticks.optional.items()}


SIP_LINES = [
    (trade(), 7, 0),
    (trade("12,37", "7"), 4, 7 * 256 + 4),
    (trade("12", "8", exchange="11"), 4, 8 * 256 + 11),
    (trade("12", "9", time=EARLY), 7, 9 * 256 + 4),
    (trade("12,37", "10", time=EARLY), 4, 10 * 256 + 4),
    (trade("14,41", ""), 7, 0),
    (trade("15"), 0, 0),
    (trade("10"), 6, 0),
    (trade("38"), 0, 0),
    (trade("4a00"), 4, 0),
]


@pytest.mark.parametrize("odd", [[], [line(price="bad")]], ids=["at once", "line by line"])
def test_the_sip_rules_give_each_trade_its_flags_and_its_key(write, odd):
    ticks = replayed(write(*odd, *[text for text, _, _ in SIP_LINES]), rules="sip")
    flags, keys = [flags for _, flags, _ in SIP_LINES], [key for _, _, key in SIP_LINES]
    told = {name: column.tolist() for name, column in ticks.optional.items() if name in ("flags", "trade_key")}
    assert told == {"flags": flags, "trade_key": keys}
    assert [ticks.optional[name].dtype.str for name in ("flags", "trade_key")] == ["|u1", "<i8"]


def test_without_the_rules_conditions_say_nothing_and_ids_name_their_trades(write):
    ticks = replayed(write(*[text for text, _, _ in SIP_LINES]), rules="all")
    assert (len(ticks), columns(ticks)) == (10, {"trade_key": [key for _, _, key in SIP_LINES]})


def test_by_default_conditions_count_where_a_file_has_them(write):
    with_conditions = write(trade("37", "7"), name="1.csv")
    without = write(f"IBM,182.5,100,{NS},1", header="ticker,price,size,sip_timestamp,correction", name="2.csv")
    source = ReplaySource([with_conditions, without])
    assert source.rules == ["sip", "all"]
    assert columns(concat(source)) == {"flags": [4], "trade_key": [7 * 256 + 4]}
    assert source.rows_left_out == 1  # by `all`, a correction of 1 does not count


def test_columns_that_would_say_nothing_are_left_out(write):
    assert columns(replayed(write(trade(), trade("14,41")), rules="sip")) == {}


@pytest.mark.parametrize(
    ("exchange", "trade_id"), [("XNAS", "7"), ("4", "A-1"), ("300", "7"), ("4", "9" * 19), ("4", "9" * 30), ("", "7")]
)
def test_odd_ids_have_the_same_key_however_they_are_read(write, exchange, trade_id):
    path = write(trade("", "1"), trade("", trade_id, exchange=exchange), trade())
    at_once, with_odd_line = (
        replayed(path, rules="sip"),
        replayed(
            write(line(price="bad"), trade("", "1"), trade("", trade_id, exchange=exchange), trade()), rules="sip"
        ),
    )
    keys = at_once.optional["trade_key"].tolist()
    assert keys == with_odd_line.optional["trade_key"].tolist()
    assert (keys[0], keys[2]) == (260, 0)
    assert keys[1] == 7 * 256 if exchange == "" else keys[1] < 0


CODES = {"": 1, "0": 1, "00": 1, "1": 1, "01": 1, "2": 0, "7": 0, "8": 0, "10": 0, "11": 0, "12": 0}


@pytest.mark.parametrize(("code", "counts"), CODES.items())
@pytest.mark.parametrize("odd", [[], [line(price="bad")]], ids=["at once", "line by line"])
def test_the_published_list_says_which_corrections_count(write, code, counts, odd):
    source = ReplaySource([write(*odd, trade(correction=code))], rules="sip")
    assert (len(concat(source)), source.rows_left_out) == (counts, 1 - counts)


def test_without_the_rules_only_a_trade_that_was_never_corrected_counts(write):
    source = ReplaySource([write(*[trade(correction=code) for code in CODES])], rules="all")
    assert (len(concat(source)), source.rows_left_out) == (3, 8)


@pytest.mark.parametrize("odd", [[], [line(price="bad")]], ids=["at once", "line by line"])
def test_unknown_conditions_are_named_once(write, monkeypatch, odd):
    logger = CapturingLogger()
    monkeypatch.setattr("tickstockpl.producer.replay.log", logger)
    path = write(*odd, trade("4a00"), trade("12,999"), trade("4a00"), trade("14"), name="1.csv")
    source = ReplaySource([path, write(trade("999"), trade("61"), name="2.csv")], rules="sip")
    assert len(list(source)) == len(list(source)) == 2
    assert source.unknown_conditions == {"4a00", 999, 61}
    assert [(call.kwargs["conditions"], call.kwargs["count"]) for call in logger.calls] == [
        (["'4a00'", "999"], 2),
        (["61"], 1),
    ]


def test_the_sip_rules_need_the_conditions(write):
    header = HEADER.replace("conditions", "other")
    with pytest.raises(UsageError, match="lacks conditions"):
        ReplaySource([write(GOOD, header=header)], rules="sip")
    assert len(replayed(write(GOOD, header=header))) == 1


def test_the_sip_rules_do_without_ids_and_exchanges(write):
    path = write(f"37,{NS},1.5,A,7", header="conditions,sip_timestamp,price,ticker,size")
    assert columns(replayed(path, rules="sip")) == {"flags": [4]}
    path = write(f",{NS},1.5,A,7,5", header="conditions,sip_timestamp,price,ticker,size,id")
    assert columns(replayed(path, rules="sip")) == {"trade_key": [5 * 256]}


@pytest.mark.parametrize("name", [b"correc\xa1ion", "prix d'exécution".encode(), b'"a,b"', b"\x1b[31m"])
def test_a_column_with_an_odd_name_keeps_its_place_in_what_is_said_of_a_refused_row(name, tmp_path):
    file = tmp_path / os.fsdecode(b"od\xffd.csv")
    file.write_bytes(b"ticker," + name + b",price,sip_timestamp,size\nIBM,x,182.5,1381147200000000000,-1\n")
    (ticks,) = ReplaySource([file])
    (refused,) = ticks.refused
    refused.detail.encode()  # as a frame holds it
    assert refused.detail.isprintable()
    assert columns_in(refused.detail) == ["ticker", "?", "price", "sip_timestamp", "size"]
