"""What a replay takes the place of, and what it says of that: parts of a minute, files that are published again."""

import gzip

import psycopg
import pytest
from tickstockpl.contracts.frames.maker import Identity
from tickstockpl.contracts.partition import partition_of
from tickstockpl.db import metrics

HEADER = (
    "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape,trf_id,"
    "trf_timestamp"
)
JUNE_5 = 1_749_132_000  # 2025-06-05T14:00:00Z
SECOND_NS = 1_000_000_000


def flat_file(file, *trades):
    """Write trades (symbol, second since 14:00, price, size, correction)."""
    lines = [HEADER]
    for number, (symbol, second, price, size, correction) in enumerate(trades):
        ts = int((JUNE_5 + second) * SECOND_NS)
        lines.append(f"{symbol},,{correction},4,{number},{ts},{price},1,{ts},{size},1,0,0")
    file.write_text("\n".join(lines) + "\n")
    return file


def part(file, first, end):
    """Write a trade of 10 a second, at 100 and a cent more each second."""
    return flat_file(file, *(("HALF", second, 100 + second / 100, 10, 0) for second in range(first, end)))


@pytest.fixture
def replay(tickstock, migrated_servers):
    def run(*arguments, code=0):
        ran = tickstock("replay", *arguments, "--partitions", "2", "--workers", "1", servers=migrated_servers)
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran

    return run


@pytest.fixture
def audit(tickstock, migrated_servers):
    def run(*arguments):
        return tickstock("audit", *arguments, servers=migrated_servers)

    return run


@pytest.fixture
def ask(migrated_servers):
    def rows(statement):
        with psycopg.connect(migrated_servers.database_url) as connection:
            return connection.execute(statement).fetchall()

    return rows


def bars(ask, table="ohlcv_1min"):
    """Return symbol, minute since 14:00, open, high, low, close, volume of each bar."""
    return [
        (symbol, minute, *map(float, values))
        for symbol, minute, *values in ask(
            f"""SELECT symbol, ((extract(epoch FROM "timestamp") - {JUNE_5}) / 60)::int, open, high, low, close, volume
                  FROM {table} ORDER BY 1, 2"""
        )
    ]


def ledger(ask):
    """Return ticks in, applied and superseded of each producer, in the order of the replays."""
    return ask(
        """SELECT sum(ticks_in)::int, sum(applied)::int, sum(superseded)::int
             FROM ledger JOIN replay r ON r.name = producer GROUP BY producer, started_at ORDER BY started_at"""
    )


def test_the_second_half_of_a_minute_in_a_command_of_its_own_is_told_as_a_cut(replay, ask, audit, tmp_path):
    first, second = part(tmp_path / "part_a.csv", 0, 90), part(tmp_path / "part_b.csv", 90, 240)
    replay(first)
    said = replay(second, code=1).stdout

    assert "30 of its ticks are superseded now" in said
    assert "1 of them are CUT" in said
    assert str(first) in said
    assert ledger(ask) == [(90, 60, 30), (150, 150, 0)]
    assert "0 differ" in audit().stdout
    assert audit().returncode == 0

    replay(first, second)

    assert bars(ask)[1] == ("HALF", 1, 100.6, 101.19, 100.6, 101.19, 600.0)
    assert ask("SELECT trade_count FROM ohlcv_1min ORDER BY timestamp") == [(60,), (60,), (60,), (60,)]
    assert ledger(ask) == [(90, 0, 90), (150, 0, 150), (240, 240, 0)]
    assert audit("--file", first, "--file", second).returncode == 0


@pytest.mark.parametrize(("before", "after"), [("37", "37"), ("", "37"), ("37", "")])
def test_a_minute_without_a_price_is_no_cut_when_it_is_published_again(before, after, replay, ask, tmp_path):
    odd = ("ODD", 60, 101, 1, 0)
    for name, conditions, last in (("first", before, 102), ("again", after, 103)):
        file = flat_file(tmp_path / f"{name}.csv", ("ODD", 0, 100, 10, 0), odd, ("ODD", 120, last, 10, 0))
        file.write_text(file.read_text().replace("ODD,,0,4,1,", f'ODD,"{conditions}",0,4,1,'))
        said = replay(file, "--trade-rules", "sip").stdout  # an odd lot is volume, and no price

    assert "3 of its ticks are superseded now" in said
    assert "CUT" not in said
    assert [minute for _, minute, *_ in bars(ask)] == ([0, 2] if after else [0, 1, 2])


def test_ticks_that_vanish_from_the_bars_of_a_replay_are_found_by_the_audit(replay, audit, tmp_path, migrated_servers):
    replay(part(tmp_path / "a.csv", 0, 120))
    with psycopg.connect(migrated_servers.database_url) as connection:
        connection.execute("DELETE FROM recent_bar WHERE minute % 2 = 0")

    found = audit()

    assert found.returncode == 1
    assert "120 ticks are applied, but its bars have 60" in found.stdout


DAY = (
    ("REPUB", 0, 100, 10, 0), ("KEPT", 1, 50, 5, 0), ("REPUB", 300, 500, 10, 0), ("REPUB", 600, 101, 10, 0),
    ("KEPT", 660, 51, 5, 0),
)  # fmt: skip


@pytest.mark.parametrize("gone", ["cancelled", "left out"])
@pytest.mark.parametrize(("second", "left"), [(0, [5, 10]), (300, [0, 10]), (600, [0, 5])])
def test_a_file_that_is_published_again_takes_away_what_it_does_not_hold(
    gone, second, left, *, replay, ask, audit, tmp_path
):
    replay(flat_file(tmp_path / "published.csv", *DAY))
    again = [
        (symbol, at, price, size, 8 if (symbol, at) == ("REPUB", second) else correction)
        for symbol, at, price, size, correction in DAY
        if gone == "cancelled" or (symbol, at) != ("REPUB", second)
    ]
    if gone == "left out" and second == 0:
        again.insert(0, ("KEPT", 0, 50, 5, 0))  # the file still begins with the first minute
    file = flat_file(tmp_path / "published_again.csv", *again)
    said = replay(file).stdout

    assert [minute for symbol, minute, *_ in bars(ask) if symbol == "REPUB"] == left
    assert [minute for symbol, minute, *_ in bars(ask) if symbol == "KEPT"] == [0, 11]
    assert "1 of them were deleted" in said
    assert audit().returncode == 0, audit().stdout
    assert audit("--file", file).returncode == 0
    assert ledger(ask)[0] == (5, 0, 5)


def test_what_stood_on_a_bar_that_is_gone_is_gone(replay, ask, tmp_path):
    trades = [("REPUB", minute * 60, 100 + minute % 7, 10, 0) for minute in range(40)]
    lonely = [("REPUB", 3600 * 2 + 30, 500, 10, 0), ("REPUB", 3600 * 4, 100, 10, 0)]
    replay(flat_file(tmp_path / "published.csv", *trades, *lonely))
    assert ("REPUB", 120) in [bar[:2] for bar in bars(ask, "ohlcv_hourly")]
    of_the_hour = f"BETWEEN to_timestamp({JUNE_5 + 7200}) AND to_timestamp({JUNE_5 + 10_800})"
    indicators = f"SELECT count(*) FROM intraday_indicators WHERE calculation_timestamp {of_the_hour}"
    assert ask(indicators) != [(0,)]
    hourly = [bar for bar in bars(ask, "ohlcv_hourly") if bar[1] == 0]
    assert hourly == [("REPUB", 0, 100.0, 106.0, 100.0, 104.0, 400.0)]

    # The last minute of the hour, which holds its close, and the lonely one go.
    kept = [trade for trade in trades if trade[1] != 39 * 60]
    replay(flat_file(tmp_path / "again.csv", *kept, lonely[1]))

    assert [bar[1] for bar in bars(ask)] == [*range(39), 240]
    for table, minutes in (("ohlcv_5min", 5), ("ohlcv_15min", 15), ("ohlcv_30min", 30), ("ohlcv_hourly", 60)):
        assert [bar[1] for bar in bars(ask, table)] == [*range(0, 39, minutes), 240], table
    assert bars(ask, "ohlcv_hourly")[0] == ("REPUB", 0, 100.0, 106.0, 100.0, 103.0, 390.0)
    assert ask(indicators) == [(0,)]
    there = f"minute BETWEEN {JUNE_5 // 60 + 60} AND {JUNE_5 // 60 + 200}"
    assert ask(f"SELECT count(*) FROM recent_higher_bar WHERE {there}") == [(0,)]
    assert ask(f"SELECT count(*) FROM detection_flow WHERE {there} AND superseded_at IS NULL") == [(0,)]


def test_what_lies_outside_of_a_file_or_between_two_of_its_days_stays(replay, ask, tmp_path):
    day = 86_400
    replay(flat_file(tmp_path / "all.csv", *(("A", at, 10, 1, 0) for at in (0, 60, 120, day, 2 * day, 2 * day + 60))))
    replay(flat_file(tmp_path / "some.csv", ("A", 60, 11, 1, 0), ("A", 120, 11, 1, 0), ("A", 2 * day, 11, 1, 0)))

    assert [(bar[1], bar[2]) for bar in bars(ask)] == [
        (0, 10.0), (1, 11.0), (2, 11.0), (1440, 10.0), (2880, 11.0), (2881, 10.0),
    ]  # fmt: skip


def test_the_same_content_twice_in_one_command_is_refused(replay, tmp_path):
    day = flat_file(tmp_path / "day.csv", *(("TWICE", second, 100, 10, 0) for second in range(60)))
    packed = tmp_path / "day.csv.gz"
    packed.write_bytes(gzip.compress(day.read_bytes()))
    windows = tmp_path / "windows.csv"
    windows.write_bytes(day.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    for files in ((day, packed), (day, day), (windows, packed)):
        assert "have the same content" in replay(*files, code=2).stderr


def test_a_file_of_refused_rows_alone_fails_and_says_why(replay, tmp_path):
    said = replay(flat_file(tmp_path / "bad.csv", ("A", 0, -1, 10, 0), ("B", 0, 10, -1, 0), ("C", 0, 0, 1, 0)), code=1)
    assert "no row of the files was taken (refused: 2 price, 1 size)" in said.stderr
    assert "no row was taken" in replay(tmp_path / "bad.csv", code=1).stderr


def test_a_file_with_some_refused_rows_says_how_many_and_why(replay, tmp_path):
    said = replay(flat_file(tmp_path / "some.csv", ("A", 0, -1, 10, 0), ("A", 1, 10, 10, 0), ("O:AAPL", 0, 5, 1, 0)))
    assert "rows that were refused: 1 price, 1 symbol" in said.stdout


YEAR_2099 = 4_070_908_800  # seconds


def test_a_row_of_another_year_in_a_paced_file_is_named_and_not_waited_for(replay, ask, tmp_path):
    trades = [("WILDX", second, 100 + second / 100, 10, 0) for second in range(150)]
    trades.insert(75, ("WILDX", YEAR_2099 - JUNE_5, 100, 10, 0))
    said = replay(flat_file(tmp_path / "one_row_of_2099.csv", *trades), "--speed", "60x")

    assert "to 2099-01-01T00:00:00Z" in said.stderr
    assert [bar[6] for bar in bars(ask)] == [600.0, 600.0, 300.0, 10.0]


def test_a_file_grouped_by_ticker_is_refused_for_any_speed_but_max(replay, ask, tmp_path):
    hours = [(symbol, hour * 3600, 10, 1, 0) for symbol in ("A", "B") for hour in range(3)]
    file = flat_file(tmp_path / "grouped.csv", *hours)
    assert "grouped by ticker" in replay(file, "--speed", "60x", code=2).stderr
    assert bars(ask) == []
    replay(file)


def test_a_bar_of_a_live_feed_that_the_file_does_not_hold_goes_and_its_producers_answer(
    replay, ask, tmp_path, migrated_servers
):
    replay(flat_file(tmp_path / "day.csv", ("LIVE", 0, 10, 1, 0), ("LIVE", 120, 10, 1, 0), ("OUT", 300, 1, 1, 0)))
    first = JUNE_5 // 60
    with psycopg.connect(migrated_servers.database_url) as connection:
        for symbol, minute in (("LIVE", 1), ("OUT", 1)):
            values = {"symbol": symbol, "minute": first + minute, "at": JUNE_5 + 60 * minute}
            values["ns"] = values["at"] * SECOND_NS
            connection.execute(
                """INSERT INTO ohlcv_1min (symbol, "timestamp", open, high, low, close, volume)
                   VALUES (%(symbol)s, to_timestamp(%(at)s), 9, 9, 9, 9, 5)""",
                values,
            )
            connection.execute(
                """INSERT INTO recent_bar VALUES (%(symbol)s, %(minute)s, 'live', false, false, 0, 9, 9, 9, 9,
                                                  5000000, 45, 5, %(ns)s, %(ns)s)""",
                values,
            )
        home = partition_of("LIVE", 2)
        for producer, applied in (("old", 4), ("new", 3)):
            connection.execute(
                "INSERT INTO ledger (partition, producer, feed, last_number, ticks_in, applied)"
                " VALUES (%s, %s, 'live', %s, %s, %s)",
                (home, producer, applied, applied, applied),
            )
    replay(flat_file(tmp_path / "again.csv", ("LIVE", 0, 10, 1, 0), ("LIVE", 120, 11, 1, 0)))

    assert [bar[:3] for bar in bars(ask)] == [("LIVE", 0, 10.0), ("LIVE", 2, 11.0), ("OUT", 1, 9.0), ("OUT", 5, 1.0)]
    live = "SELECT producer, applied, superseded FROM ledger WHERE feed = 'live' ORDER BY 1"
    assert ask(live) == [("new", 0, 3), ("old", 2, 2)]


def test_ticks_that_a_replay_takes_out_of_their_bars_rise_in_the_metric(stream, work):
    before = metrics.TICKS_SUPERSEDED._value.get()
    stream.send(("A", 10.0, 100), ("A", 10.5, 50), ("B", 5.0, 10))
    standing = "SELECT sum(applied)::int, sum(superseded)::int FROM ledger WHERE feed = 'live'"
    counted = "SELECT count(*)::int FROM recent_bar"
    work(lambda: asked(stream, counted) == [(2,)])
    stream.number = 0
    stream.add(stream.frame(("A", 12.0, 7), ("A", 12.0, 7, 1), identity=Identity("replay-x", "replay-x", "replay")))
    work(lambda: asked(stream, standing) == [(1, 2)])
    work(lambda: metrics.TICKS_SUPERSEDED._value.get() == before + 2)


def asked(stream, statement):
    with psycopg.connect(stream.servers.database_url) as connection:
        return connection.execute(statement).fetchall()


def test_the_summary_says_by_which_rules_and_counts_bars_as_they_are_printed(
    replay, ask, tickstock, migrated_servers, tmp_path
):
    minute = [("ODD", 0, 101, 1, 0), ("ODD", 5, 101, 1, 0), ("HALF", 0, 100, 10, 0), ("HALF", 60, 100, 10, 0)]
    file = flat_file(tmp_path / "day.csv", *minute)
    file.write_text(file.read_text().replace("ODD,,", "ODD,37,"))  # a minute of odd lots is no bar
    said = replay(file).stdout
    assert "bars by --trade-rules sip" in said
    assert "\n2 bars, " in said
    assert len(tickstock("bars", "--format", "json", servers=migrated_servers).stdout.splitlines()) == 2

    every = replay(file, "--trade-rules", "all").stdout
    assert "bars by --trade-rules all" in every
    assert "\n3 bars, " in every
    assert len(tickstock("bars", "--format", "json", servers=migrated_servers).stdout.splitlines()) == 3
    sources = [
        source.rpartition(" --trade-rules ")[2] for (source,) in ask("SELECT source FROM replay ORDER BY started_at")
    ]
    assert sources == ["sip", "all"]
