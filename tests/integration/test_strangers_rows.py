"""Rows and entries that are not as ours are: `status` and the bridge show what they can, and go on."""

import json
from contextlib import closing

import psycopg
import pytest
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import open_stream
from tickstockpl.ops.status.observer import Observer
from tickstockpl.ops.wiring.servers import Place

ROWS = {
    "lease of no partition": "INSERT INTO lease (unit) VALUES ('partition:abc'), ('partition:'), ('partition:-1'), "
    "('partition:99999999999999999999'), ('partition:7 '), (''), ('consumer:'), ('producer:')",
    "lease that never ends": "INSERT INTO lease (unit, owner, expires_at, renewed_at, epoch) VALUES "
    "('partition:abc', 'x', 'infinity', '-infinity', -5), "
    "('producer:p', '', 'infinity', 'infinity', 9223372036854775807)",
    "lease of nobody": "UPDATE lease SET owner = NULL, renewed_at = NULL, backend_pid = NULL, pause_s = 'NaN'",
    "lease without an end": "INSERT INTO lease (unit, owner, expires_at) VALUES ('bridge', 'b', 'infinity')",
    "worker without figures": "INSERT INTO worker (consumer, host, pid, started_at, updated_at) "
    "VALUES ('', '', -1, '-infinity', 'infinity')",
    "worker with odd figures": "INSERT INTO worker (consumer, host, pid, ticks, bars, cpu_s, memory_mb, lag_ms) VALUES "
    "(E'w\\x1b[31m', 'h', 0, -5, 9223372036854775807, 'NaN', 'Infinity', '-Infinity')",
    "ledger of a stranger": "INSERT INTO ledger (partition, producer, feed, last_number, ticks_in, lost) VALUES "
    "(-7, '', '', -1, -5, 9223372036854775807), (0, E'p\\n', 'x', 9223372036854775807, 1, 1)",
    "flow log": "INSERT INTO integration_events (flow_id, event_type, checkpoint, source_system) VALUES "
    "(NULL, NULL, NULL, NULL), (gen_random_uuid(), 'pattern_detected', 'PATTERN_PUBLISHED', E'\\x1b')",
    "flow log from later": "INSERT INTO integration_events "
    '(flow_id, event_type, checkpoint, source_system, "timestamp") '
    "VALUES (gen_random_uuid(), 'pattern_detected', 'PATTERN_PUBLISHED', 'x', 'infinity')",
    "gap": "INSERT INTO gap (feed, first_minute, last_minute, why, state) VALUES ('', 0, 2147483647, '', 'open')",
    "session": "INSERT INTO streaming_session (session_id, universe, started_at) "
    "VALUES (gen_random_uuid(), '', '-infinity')",
    "position of no partition": "INSERT INTO checkpoint (partition, position) VALUES (77, 'abc')",
    "position that is empty": "UPDATE checkpoint SET position = ''",
    "bridge position": "INSERT INTO bridge_position (partition, number, epoch) VALUES (99, -5, 9223372036854775807)",
}


@pytest.fixture
def stream(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 2)
    return migrated_servers


def test_a_time_that_python_has_no_word_for_is_one_sentence(stream, tickstock):
    with psycopg.connect(stream.database_url, autocommit=True) as connection:
        connection.execute("UPDATE checkpoint SET committed_at = '0044-03-15 BC'")
    ran = tickstock("status", servers=stream)
    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: a table holds a value that cannot be shown: ")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ROWS)
def test_status_is_said_whatever_a_table_holds(stream, what, tickstock):
    with psycopg.connect(stream.database_url, autocommit=True) as connection:
        try:
            connection.execute(ROWS[what])
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as e:
            pytest.skip(f"the tables do not take it: {e}")
    with closing(Observer(Place(stream, False, 5.0))) as observer:
        assert observer.observe().fleet is not None
    for how in ((), ("--json",)):
        ran = tickstock("status", *how, servers=stream)
        assert (ran.returncode, ran.stderr) == (1, ""), ran.stderr
    json.loads(ran.stdout)
