"""Nothing grows for ever: what the workers delete by themselves, and that nobody misses it."""

from types import SimpleNamespace

import psycopg
import pytest
from tickstockpl.contracts.market_hours import half_days
from tickstockpl.contracts.names import flow_key
from tickstockpl.db import postgres
from tickstockpl.db.world import REAL
from tickstockpl.ohlcv_writer import LiveOHLCVWriter
from tickstockpl.ops.doctor.postgres import check_postgres
from tickstockpl.workers.row_retention import KEPT_BARS, Keep, RowRetention
from tickstockpl.workers.upkeep import Upkeep

from .test_detection import OPENING_S, minute_bars, replay, rows, seeded, trade, write  # noqa: F401  # a fixture

OLD = "now() - interval '200 days'"


@pytest.fixture
def database(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test", by_keys=True) as connection:
        yield connection


def run_all(connection, keep=None):
    """Do all steps of one round of each task."""
    retention = RowRetention(keep or Keep(), world=REAL)
    connection.execute("UPDATE upkeep SET next_at = '-infinity', after = ''")
    for _ in range(400):
        connection.execute("UPDATE upkeep SET next_at = '-infinity' WHERE after <> ''")
        if not retention.step(connection):
            break
    assert connection.execute("SELECT task, refused FROM upkeep WHERE refused IS NOT NULL").fetchall() == []


def count(connection, table):
    return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def add_bars(connection, symbol, minutes, *, days_ago):
    connection.execute(
        "INSERT INTO recent_bar SELECT %s, m, 'live', false, false, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0,"
        " floor(extract(epoch FROM now()) / 86400)::integer - %s FROM unnest(%s::int[]) AS m",
        [symbol, days_ago, list(minutes)],
    )
    connection.execute(
        "INSERT INTO recent_higher_bar SELECT symbol, 5, minute, 1, 1, 1, 1, 1, 1, written_day FROM recent_bar"
        " WHERE symbol = %s ON CONFLICT DO NOTHING",
        [symbol],
    )


def test_of_each_symbol_the_last_bars_stay_and_what_was_written_lately(database):
    (today,) = database.execute("SELECT floor(extract(epoch FROM now()) / 86400)::integer").fetchone()
    first = (today - 100) * 1440
    database.execute("INSERT INTO always_open VALUES ('*')")
    add_bars(database, "LONG", range(first, first + 3000), days_ago=100)  # more than one step deletes
    add_bars(database, "SHORT", range(first, first + KEPT_BARS), days_ago=100)
    add_bars(database, "NEW", range(today * 1440, today * 1440 + 700), days_ago=0)
    add_bars(database, "REPLAYED", range(first, first + 700), days_ago=3)  # of a year ago, written this week
    run_all(database)
    for table in ("recent_bar", "recent_higher_bar"):
        left = dict(database.execute(f"SELECT symbol, count(*) FROM {table} GROUP BY 1").fetchall())
        assert left == {"LONG": 500, "SHORT": 500, "NEW": 700, "REPLAYED": 700}
    assert database.execute("SELECT min(minute) FROM recent_bar WHERE symbol = 'LONG'").fetchone() == (first + 2500,)
    assert database.execute("SELECT before - %s FROM forgotten_bar ORDER BY timeframe", [first]).fetchall() == [
        (2500,), (2500,),
    ]  # fmt: skip


def test_the_last_bars_of_the_regular_hours_stay_whatever_is_traded_beside_them(database):
    (today,) = database.execute("SELECT floor(extract(epoch FROM now()) / 86400)::integer").fetchone()
    first = (today - 100) * 1440
    add_bars(database, "DAYS", range(first, first + 4 * 1440), days_ago=100)  # 390 or, on a half day, 210 regular a day
    add_bars(database, "NIGHTS", range(first, first + 30 * 1440, 4), days_ago=100)
    database.execute("DELETE FROM recent_bar WHERE symbol = 'NIGHTS' AND is_regular_bar(minute, 1, '{}')")
    add_bars(database, "FEW", range(first, first + 14 * 1440, 30), days_ago=100)  # 182 regular ones
    run_all(database)
    assert database.execute("SELECT count(*) FROM recent_bar WHERE symbol = 'FEW'").fetchone() == (672,)
    regular = (
        "SELECT count(*), count(*) = (SELECT max(minute) - min(minute) + 1 FROM recent_bar WHERE symbol = 'DAYS')"
        " FROM recent_bar WHERE symbol = 'DAYS'"
    )
    assert (
        database.execute(regular + " AND is_regular_bar(minute, 1, %s::date[])", [list(half_days())]).fetchone()[0]
        == 500
    )
    assert database.execute(regular).fetchone()[1] is True  # and all between and behind them
    nights = "SELECT count(*) FROM recent_bar WHERE symbol = 'NIGHTS'"
    assert database.execute(nights).fetchone() == (5000,)


def test_bars_of_a_replay_that_is_not_finished_stay(database):
    database.execute("INSERT INTO always_open VALUES ('*')")
    database.execute("INSERT INTO checkpoint (partition) VALUES (0), (1)")
    database.execute("INSERT INTO replay (name, source) VALUES ('replay-a', 'a.csv'), ('replay-b', 'b.csv')")
    database.execute("INSERT INTO finished_replay VALUES ('replay-a', 0, 1, false), ('replay-a', 1, 1, false),"
                     " ('replay-b', 0, 1, false)")  # fmt: skip
    add_bars(database, "A", range(1000), days_ago=100)
    database.execute("UPDATE recent_bar SET feed = CASE WHEN minute < 100 THEN 'replay-b' ELSE 'replay-a' END")
    run_all(database)
    assert database.execute("SELECT feed, count(*) FROM recent_bar GROUP BY 1 ORDER BY 1").fetchall() == [
        ("replay-a", 500), ("replay-b", 100),
    ]  # fmt: skip


def test_records_of_who_ran_what_go_after_their_days(database):
    database.execute(f"""
        INSERT INTO lease (unit, owner, expires_at, renewed_at) VALUES
            ('producer:old', NULL, '-infinity', {OLD}), ('consumer:old', 'old', {OLD}, {OLD}),
            ('producer:new', NULL, '-infinity', now()), ('consumer:running', 'running', now() + interval '5 s', now()),
            ('partition:0', NULL, '-infinity', {OLD}), ('bridge', NULL, '-infinity', {OLD});
        INSERT INTO worker (consumer, host, pid, updated_at) VALUES
            ('old', 'h', 1, {OLD}), ('new', 'h', 1, now()), ('running', 'h', 1, {OLD});
        INSERT INTO replay (name, source, started_at) VALUES
            ('replay-ended', 'a', {OLD}), ('replay-begun', 'b', {OLD}),
            ('replay-ancient', 'c', now() - interval '500 days');
        INSERT INTO finished_replay VALUES ('replay-ended', 0, 1, false, {OLD}),
            ('replay-ancient', 0, 1, false, now() - interval '499 days');
        INSERT INTO replaced VALUES (0, 'replay-ancient', 'live', 1, 0, 0, 1),
            (0, 'pruned', 'replay-ancient', 1, 0, 0, 1),
            (0, 'replay-ended', 'replay-ancient', 1, 0, 0, 1), (0, 'replay-ended', 'live', 1, 0, 0, 1);
        INSERT INTO replay_cover VALUES ('replay-ancient', 0, 'A', 1, 2), ('replay-begun', 0, 'A', 1, 2);
        INSERT INTO ledger (partition, producer, feed, last_number, ended, updated_at) VALUES
            (0, 'old', 'live', 1, true, {OLD}), (0, 'killed', 'live', 1, false, {OLD}),
            (0, 'new', 'live', 1, false, now()),
            (0, 'front-door', 'live', 1, false, {OLD}), (0, 'replay-ended', 'replay-ended', 1, true, {OLD}),
            (0, 'replay-begun', 'replay-begun', 1, false, {OLD});
        INSERT INTO streaming_session (session_id, universe, started_at, stopped_at) VALUES
            (gen_random_uuid(), 'old', {OLD}, {OLD}), (gen_random_uuid(), 'running', {OLD}, NULL);
        INSERT INTO gap (feed, first_minute, last_minute, why, state, found_at) VALUES
            ('live', 1, 2, 'old', 'repaired', {OLD}), ('live', 1, 2, 'missing', 'missing', {OLD}),
            ('live', 1, 2, 'open', 'open', {OLD}), ('live', 1, 2, 'new', 'repaired', now());
        INSERT INTO gap_missing SELECT id, 'A', 1, 2 FROM gap WHERE why = 'missing';
        INSERT INTO dead_letter (partition, producer, reason, detail, original, created_at) VALUES
            (0, 'p', 'old', '', '', {OLD}), (0, 'p', 'new', '', '', now());
    """)
    run_all(database)

    def left(column, table):
        return {value for (value,) in database.execute(f"SELECT {column} FROM {table}")}

    assert left("unit", "lease") == {"producer:new", "consumer:running", "partition:0", "bridge"}
    assert left("consumer", "worker") == {"new", "running"}
    assert left("producer", "ledger") == {"new", "front-door", "replay-begun"}
    assert left("name", "replay") == {"replay-ended", "replay-begun"}
    assert left("replay", "finished_replay") == {"replay-ended"}
    assert left("by_feed || ' ' || feed", "replaced") == {"replay-ended live"}
    assert left("replay", "replay_cover") == {"replay-begun"}
    assert left("universe", "streaming_session") == {"running"}
    assert left("why", "gap") == {"open", "new"}
    assert count(database, "gap_missing") == 0
    assert left("reason", "dead_letter") == {"new"}


def test_of_runs_that_ended_the_steps_go_before_the_runs_and_the_latest_stays(database):
    ages = {"latest": 500, "new": 1, "old": 100, "ancient": 501}
    for universe, days in ages.items():
        ended = f"now() - interval '{days} days'"
        created = "now()" if universe == "latest" else ended
        values = f"gen_random_uuid(), '2025-06-02', 'manual', '{universe}', '{{}}', 'completed', {created}, {ended}"
        database.execute(f"""
            WITH one AS (INSERT INTO run (run_id, run_date, trigger, universe, phases, status, created_at, ended_at)
                         VALUES ({values}) RETURNING run_id)
            INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token)
            SELECT run_id, 'import', '', n, '{{}}', 1 FROM one, generate_series(1, 3) AS n""")
    run_all(database)
    left = "SELECT universe, count(s.run_id) FROM run LEFT JOIN run_step s USING (run_id) GROUP BY 1"
    assert dict(database.execute(left).fetchall()) == {"latest": 3, "new": 3, "old": 0}


def test_backtests_go_with_their_rows_after_their_own_time(database):
    """The figures and steps of one that is kept stay, however old other runs may be."""
    for job, days in {"new": 89, "old": 91}.items():
        database.execute(f"""
            INSERT INTO run (run_id, kind, run_date, trigger, universe, phases, status, job_id, created_at, ended_at)
            VALUES (gen_random_uuid(), 'backtest', '2025-06-02', 'manual', '', '{{}}', 'completed', '{job}',
                    now() - interval '{days} days', now() - interval '{days} days');
            INSERT INTO backtest_result SELECT run_id, '{{}}' FROM run WHERE job_id = '{job}';
            INSERT INTO backtest_trade SELECT run_id, n, '', '', '', 1, now(), now(), 1, 1, 1, 1, 1, 1, ''
              FROM run, generate_series(1, 1500) AS n WHERE job_id = '{job}';
            INSERT INTO backtest_equity SELECT run_id, now() + n * interval '1 day', 1, 1, 1
              FROM run, generate_series(1, 3) AS n WHERE job_id = '{job}'""")
    for _ in range(3):
        run_all(database)
    assert database.execute("SELECT job_id FROM run").fetchall() == [("new",)]
    assert [count(database, f"backtest_{name}") for name in ("result", "trade", "equity")] == [1, 1500, 3]


def test_of_dead_letters_the_latest_hundred_thousand_stay(database):
    database.execute("INSERT INTO dead_letter (partition, producer, reason, detail, original)"
                     " SELECT 0, 'p', n::text, '', '' FROM generate_series(1, 102500) AS n")  # fmt: skip
    run_all(database)
    assert database.execute("SELECT count(*), min(reason::int) FROM dead_letter").fetchone() == (100_000, 2501)


FINDINGS = """
INSERT INTO intraday_patterns (symbol, pattern_type, confidence, detection_timestamp, expiration_timestamp, metadata)
SELECT 'A', 'Doji', 0.9, '2013-10-07', '2013-10-07', jsonb_build_object('flow_id', gen_random_uuid())
  FROM generate_series(1, 3);
INSERT INTO detection_flow (flow_id, symbol, timeframe, minute, pattern, pattern_id)
SELECT flow_id, symbol, 1, 1, 'Doji', id FROM intraday_patterns ON CONFLICT DO NOTHING;
INSERT INTO intraday_indicators (symbol, indicator_type, value, calculation_timestamp)
SELECT 'A', 'RSI' || clock_timestamp(), 50, '2013-10-07';
INSERT INTO integration_events (event_type, "timestamp") VALUES ('heartbeat', '2013-10-07');
"""


def test_findings_go_by_when_they_were_written_not_by_the_time_of_their_bar(database):
    database.execute(FINDINGS)
    run_all(database)  # today's marks
    database.execute("UPDATE id_mark SET day = day - 100")
    database.execute(FINDINGS)  # as a replay of an old day writes them
    run_all(database)
    tables = ("intraday_patterns", "detection_flow", "intraday_indicators", "integration_events")
    assert [count(database, table) for table in tables] == [3, 3, 1, 1]
    run_all(database)
    assert [count(database, table) for table in tables] == [3, 3, 1, 1]
    assert count(database, "id_mark") == 6  # the newest that is old enough, and today's, of each


def test_a_flow_stays_while_its_row_stands(database):
    database.execute(FINDINGS)
    run_all(database)
    database.execute("UPDATE id_mark SET day = day - 100")
    run_all(database, Keep(patterns=36_500))
    assert count(database, "detection_flow") == 3


def test_what_the_role_may_not_delete_is_left_for_a_day_and_said(database):
    database.execute("CREATE ROLE somebody_else")
    try:
        database.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO somebody_else")
        database.execute("REVOKE DELETE ON streaming_session FROM somebody_else")
        database.execute("SET ROLE somebody_else")
        retention = RowRetention(Keep(), world=REAL)
        while retention.step(database):
            pass
        refused = database.execute("SELECT task, refused, next_at > now() + interval '23 hours' FROM upkeep"
                                   " WHERE refused IS NOT NULL").fetchall()  # fmt: skip
        assert refused == [("sessions", "permission denied for table streaming_session", True)]
        found = [finding for finding in check_postgres(database, "here", None, False) if finding.subject == "bounds"]
        assert [finding.says for finding in found] == [
            "old rows of sessions cannot be deleted: permission denied for table streaming_session"
        ]
    finally:
        database.execute("RESET ROLE")
        database.execute("DROP OWNED BY somebody_else")
        database.execute("DROP ROLE somebody_else")


def test_two_workers_never_do_the_same_step(database, migrated_servers):
    retention = RowRetention(Keep(), world=REAL)
    assert retention.step(database)
    database.execute("UPDATE upkeep SET next_at = 'infinity' WHERE task <> 'leases'")
    with psycopg.connect(migrated_servers.database_url) as other:
        other.execute("SELECT 1 FROM upkeep WHERE task = 'leases' FOR UPDATE")
        assert not retention.step(database)
    assert retention.step(database)


# -- bars that are forgotten are missed by nobody ----------------------------------------------------------------------

DAY = [trade("A", 50 + minute % 7 / 7, minute * 60 + second, 10) for minute in range(700) for second in (5, 50)]
STANDING = 'SELECT xmin, * FROM ohlcv_1min ORDER BY symbol, "timestamp"'
FOUND = "SELECT flow_id, superseded_at FROM detection_flow ORDER BY 1"


def forget(servers, *, all_but=0):
    """Forget the bars of our copy as after a long time."""
    rows(servers, "UPDATE recent_bar SET written_day = 1")
    rows(servers, "UPDATE recent_higher_bar SET written_day = 1")
    with postgres.connect(servers.database_url, name="test", by_keys=True) as connection:
        # Newer ones, of a live market, so that none of the old is among the last: 78 of the regular hours a day.
        newest = 29_000_000
        add_bars(connection, "A", range(newest, newest + 10 * 1440, 5), days_ago=0)
        run_all(connection)
    assert rows(servers, "SELECT count(*) FROM recent_bar WHERE minute < 25000000") == [(all_but,)]


@pytest.fixture
def replayed(tmp_path, tickstock, seeded):  # noqa: F811
    """Give servers on which a day was replayed and forgotten again, and the file."""
    file = write(tmp_path / "day.csv", DAY)
    replay(tickstock, seeded, file)
    before = minute_bars(seeded)
    forget(seeded)
    return seeded, file, before


def test_a_replay_of_a_day_that_was_forgotten_changes_nothing(replayed, tickstock):
    servers, file, before = replayed
    standing, found = rows(servers, STANDING), rows(servers, FOUND)
    replay(tickstock, servers, file)
    assert rows(servers, STANDING) == standing
    replay(tickstock, servers, file, "--again")
    assert rows(servers, STANDING) == standing
    assert rows(servers, FOUND) == found
    again = minute_bars(servers)
    assert again.filter(again["minute"] < 25_000_000).equals(before)


def test_a_later_replay_of_one_minute_of_a_day_that_was_forgotten_revises_it_and_what_hangs_on_it(
    replayed, tickstock, tmp_path
):
    servers, _, _ = replayed
    five = "SELECT open, high, low, close, volume FROM ohlcv_5min WHERE \"timestamp\" = '2013-10-07 13:35Z'"
    # Minutes 5 to 9 of the walk: 50 + 5/7, 6/7, 0, 1/7, 2/7; 20 shares each.
    assert [tuple(map(float, row)) for row in rows(servers, five)] == [(50.714286, 50.857143, 50.0, 50.285714, 100.0)]
    one = write(tmp_path / "one.csv", [trade("A", 60, 7 * 60 + 1, 5)])
    replay(tickstock, servers, one)
    bar = "SELECT open, close, volume, revision FROM ohlcv_1min WHERE \"timestamp\" = '2013-10-07 13:37Z'"
    assert [tuple(map(float, row)) for row in rows(servers, bar)] == [(60.0, 60.0, 5.0, 1.0)]
    assert [tuple(map(float, row)) for row in rows(servers, five)] == [(50.714286, 60.0, 50.142857, 50.285714, 85.0)]


def test_a_day_that_was_forgotten_and_is_published_again_loses_what_its_file_does_not_hold(
    replayed, tickstock, tmp_path
):
    servers, _, _ = replayed
    left = [line for i, line in enumerate(DAY) if i // 2 != 300]  # without its minute 300, 18:30 UTC
    replay(tickstock, servers, write(tmp_path / "again.csv", left))
    minute = "SELECT count(*) FROM ohlcv_1min WHERE symbol = 'A' AND \"timestamp\" = '2013-10-07 %sZ'"
    assert [rows(servers, minute % at) for at in ("18:29", "18:30", "18:31")] == [[(1,)], [(0,)], [(1,)]]
    assert rows(servers, "SELECT count(*) FROM ohlcv_1min WHERE symbol = 'A'") == [(699,)]


def test_the_audit_knows_of_the_bars_of_a_replay_that_were_forgotten(replayed, tickstock):
    servers, _, _ = replayed
    forgotten = "SELECT by_feed, bars, ticks FROM replaced"
    assert rows(servers, forgotten) == [("pruned", 700, 1400)]
    assert rows(servers, "SELECT sum(applied) FROM ledger WHERE feed = producer") == [(1400,)]
    audited = tickstock("audit", servers=servers)
    assert "but its bars have" not in audited.stdout


def test_the_audit_holds_nothing_against_a_replay_whose_ledger_is_half_forgotten(replayed, tickstock):
    servers, _, _ = replayed
    rows(servers, "DELETE FROM ledger WHERE applied > 0 RETURNING 1")  # partition by partition, as the workers do it
    assert rows(servers, "SELECT count(*) > 0 FROM ledger WHERE feed = producer") == [(True,)]
    audited = tickstock("audit", servers=servers)
    assert "but its bars have" not in audited.stdout


def test_a_live_write_does_not_touch_a_replayed_bar_that_was_forgotten(replayed):
    servers, _, _ = replayed
    standing = rows(servers, STANDING)
    with LiveOHLCVWriter(servers.database_url) as writer:
        writer.process_tick({"symbol": "A", "price": 99.0, "volume": 1, "timestamp": "2013-10-07T13:37:01Z"})
        writer.flush()
        writer.process_tick({"symbol": "B", "price": 99.0, "volume": 1, "timestamp": "2013-10-07T13:37:01Z"})
    assert writer.counts.superseded == 1
    assert rows(servers, STANDING.replace("ORDER", "WHERE symbol = 'A' ORDER")) == standing


def test_the_numbers_of_producers_that_are_over_leave_redis(stream):
    """Of replays one ended two days ago; of live producers one two days ago, one lately; two fields are strangers'."""
    with postgres.connect(stream.servers.database_url, name="test") as database:
        database.execute("""
            INSERT INTO replay (name, source) VALUES ('replay-over', 'a'), ('replay-begun', 'b'), ('replay-today', 'c');
            INSERT INTO finished_replay VALUES ('replay-over', 0, 5, false, now() - interval '2 days'),
                ('replay-today', 0, 5, false, now());
            INSERT INTO lease (unit, owner, expires_at, renewed_at) VALUES
                ('producer:live-dead', NULL, '-infinity', now() - interval '2 days'),
                ('producer:live-new', NULL, '-infinity', now() - interval '1 hour');
        """)
        key = flow_key(0)
        names = ("replay-over", "replay-begun", "replay-today", "live-dead", "live-new", "nobody", "front-door")
        stream.redis.hset(key, mapping={f"done:{name}": 5 for name in names} | {b"sent:\xff": 1, "odd": 1})
        upkeep = Upkeep(stream.redis, SimpleNamespace(connection=database), None, hole_wait_s=1.0, world=REAL)
        upkeep.drop_old_producers({0: SimpleNamespace(partition=0, flows={}, counts={}, holes=[])})
        assert {name.decode() for name in stream.redis.hkeys(key)} == {
            "done:replay-begun", "done:replay-today", "done:live-new", "done:front-door",
        }  # fmt: skip
