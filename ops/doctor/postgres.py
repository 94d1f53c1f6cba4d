"""The requirements on PostgreSQL for safe commits."""

from collections.abc import Iterator, Sequence
from typing import Literal

from psycopg.sql import Identifier

from ...contracts.errors import SetupError
from ...contracts.names import FRONT_DOOR
from ...db.postgres import Connection
from ...db.queries import query
from ...db.schema.foreign_tables import lacking_columns
from ...db.schema.hypertable import DaysInChunks, read_days_in_chunks, read_hypertable
from ...db.schema.migrate import DEFAULT_PARTITIONS, check_schema
from ...db.schema.table_rights import TABLE_RIGHTS
from .finding import Finding, findings_of

# statements on every chunk in one moment; the server has room for some more locks than it reports
_STATEMENTS_AT_ONCE = 8
_LEAST_VERSION = 140_000  # server_version_num; PostgreSQL 13 has had no fixes since November 2025


def check_postgres(connection: Connection, where: str, partitions: int | None, embedded: bool) -> Iterator[Finding]:
    """Check a server that answers. partitions: the count that the user expects; embedded: our commands migrate it."""
    checks = (
        ("PostgreSQL version", lambda c: _version(c, where)),
        ("PostgreSQL durability", _durability),
        ("PostgreSQL schema", lambda c: _schema(c, embedded)),
        ("PostgreSQL rights", _rights),
        ("application's tables", _foreign_tables),
        ("definitions", _definitions),
        ("bounds", _bounds),
        ("partitions", lambda c: _partitions(c, partitions)),
        ("TimescaleDB", _timescaledb),
    )
    return findings_of(connection, checks)


def _version(connection: Connection, where: str) -> Iterator[Finding]:
    number, version, role, in_recovery, _, _ = connection.execute(query("server_facts")).fetchone() or ()
    yield judge_version(number, version, role, where, in_recovery=in_recovery)


def judge_version(number: int, version: str, role: str, where: str, *, in_recovery: bool) -> Finding:
    """Judge a server by its server_version_num and server_version."""
    says = f"PostgreSQL {version.split(maxsplit=1)[0]} at {where} as {role}"
    if number < _LEAST_VERSION:
        return Finding("FAIL", "PostgreSQL version", f"{says} is too old", "PostgreSQL 14 or later")
    if in_recovery:
        return Finding("FAIL", "PostgreSQL version", f"{says} is a standby", "set DATABASE_URL to the primary")
    return Finding("ok", "PostgreSQL version", says)


def _durability(connection: Connection) -> Iterator[Finding]:
    *_, synchronous_commit, fsync = connection.execute(query("server_facts")).fetchone() or ()
    says = f"synchronous_commit {synchronous_commit}, fsync {fsync}"
    if synchronous_commit == "off":
        # We ask for it when connecting, but a pooler in between may drop the setting.
        do = "let connections set synchronous_commit: ticks are acked as soon as COMMIT answers"
        yield Finding("FAIL", "PostgreSQL durability", says, do)
    elif fsync == "off":
        yield Finding("FAIL", "PostgreSQL durability", f"{says}: a power cut destroys it", "set `fsync = on`")
    else:
        yield Finding("ok", "PostgreSQL durability", says)


def _schema(connection: Connection, embedded: bool) -> Iterator[Finding]:
    try:
        check_schema(connection)
    except SetupError as e:
        says, _, do = str(e).partition(": ")
        if embedded and "older" in says:
            do = "nothing: any other command brings the embedded database up to date"
            yield Finding("warn", "PostgreSQL schema", says, do)
            return
        yield Finding("FAIL", "PostgreSQL schema", says, f"{do}, as a role that has CREATE on the schema")
    else:
        yield Finding("ok", "PostgreSQL schema", "current")


def _rights(connection: Connection) -> Iterator[Finding]:
    wanted = [(table, privilege) for table, privileges in TABLE_RIGHTS.items() for privilege in privileges]
    tables, privileges = (list(column) for column in zip(*wanted, strict=True))
    missing = connection.execute(query("missing_table_rights"), {"tables": tables, "privileges": privileges}).fetchall()
    inserted = [table for table, privileges in TABLE_RIGHTS.items() if "INSERT" in privileges]
    missing += connection.execute(query("missing_other_rights"), {"inserted": inserted}).fetchall()
    if missing:
        role = Identifier(connection.info.user).as_string(connection)
        do = "; ".join(f"GRANT {privilege} ON {what} TO {role}" for privilege, what in missing)
        says = ", ".join(f"{privilege} on {what.lower()}" for privilege, what in missing)
        yield Finding("FAIL", "PostgreSQL rights", f"missing: {says}", do)
    else:
        yield Finding("ok", "PostgreSQL rights", "complete")


def _foreign_tables(connection: Connection) -> Iterator[Finding]:
    lacks = lacking_columns(connection)
    for lack in lacks:
        level: Literal["warn", "FAIL"] = "FAIL" if lack.column.without is None else "warn"
        yield Finding(level, "application's tables", str(lack), f"as the table's owner: {lack.mend}")
    if not lacks:
        yield Finding("ok", "application's tables", "all used columns exist")


def _definitions(connection: Connection) -> Iterator[Finding]:
    # Imported here, because it loads TA-Lib.
    from ...workers.detect.definitions import read_definitions  # noqa: PLC0415

    if connection.execute(query("definitions_exist")).fetchone() != (True,):
        return
    definitions = read_definitions(connection)
    for row in definitions.wrong:
        yield Finding("warn", "definitions", f"{row.table}: {row.name}: {row.why}", "correct the row, or disable it")
    for row in definitions.idle:
        do = "`tickstock definitions live` enables the default set for the timeframes of workers"
        yield Finding("warn", "definitions", f"{row.name} is never detected: {row.why}", do)
    if not definitions.wrong and not definitions.idle:
        on = len(definitions.patterns), len(definitions.indicators)
        sessions = [pattern.session for pattern in definitions.patterns]
        sessions += [indicator.session for indicator in definitions.indicators]
        extended = sessions.count("extended")
        hours = f", {extended} of them also for bars outside the regular hours" if extended else ""
        yield Finding("ok", "definitions", f"{on[0]} patterns and {on[1]} indicators are on{hours}")


def _bounds(connection: Connection) -> Iterator[Finding]:
    if connection.execute(query("upkeep_exists")).fetchone() != (True,):
        return
    refused = connection.execute(query("refused_upkeep")).fetchall()
    for task, why in refused:
        says = f"old rows of {task} cannot be deleted: {why}"
        yield Finding("warn", "bounds", says, "grant the right; or delete old rows yourself, if the table is yours")
    if not refused:
        yield Finding("ok", "bounds", "old rows are deleted")


def recorded_shape(connection: Connection) -> tuple[int, int | None] | None:
    """Return the partition count, and the former one if a change is not finished; None if there is no stream yet."""
    if connection.execute(query("stream_exists")).fetchone() != (True,):
        return None
    return connection.execute(query("stream_shape"), {"name": FRONT_DOOR}).fetchone()


def _partitions(connection: Connection, wanted: int | None) -> Iterator[Finding]:
    row = recorded_shape(connection)
    if row is None:
        says = f"not recorded yet: the first process records {wanted or DEFAULT_PARTITIONS}"
        yield Finding("ok", "partitions", says)
    elif row[1] is not None:
        says = f"the change from {row[1]} to {row[0]} was not finished: nothing can start"
        yield Finding("FAIL", "partitions", says, f"run `tickstock repartition {row[0]}` again")
    elif wanted and wanted != row[0]:
        says = f"--partitions is {wanted}, but this stream has {row[0]}"
        yield Finding("FAIL", "partitions", says, "leave the option out")
    else:
        yield Finding("ok", "partitions", f"{row[0]}")


def _timescaledb(connection: Connection) -> Iterator[Finding]:
    installed, available = connection.execute(query("timescaledb")).fetchone() or (None, False)
    kept = read_hypertable(connection) if installed else None
    if kept and kept.locks > kept.room_for_locks // _STATEMENTS_AT_ONCE:
        says = f"{installed}, {kept}: a DELETE locks each of them, {kept.locks} locks of {kept.room_for_locks}"
        do = "raise max_locks_per_transaction, or `tickstock migrate --timescale --chunk-days 7` for new chunks"
        yield Finding("warn", "TimescaleDB", says, do)
    elif kept:
        yield Finding("ok", "TimescaleDB", f"{installed} is installed: {kept}")
    else:
        says = (
            f"{installed} is installed"
            if installed
            else "available, not in this database"
            if available
            else "not installed"
        )
        yield Finding("ok", "TimescaleDB", f"{says}: ohlcv_1min is a plain table, which is enough")
    yield from judge_days_in_chunks(read_days_in_chunks(connection))


def judge_days_in_chunks(tables: Sequence[DaysInChunks]) -> Iterator[Finding]:
    """Warn of tables with so many chunks that the steps of a run may take all of the server's locks."""
    for table in tables:
        if table.locks > table.room_for_locks // _STATEMENTS_AT_ONCE:
            says = f"{table.name} has {table.chunks} chunks: a step of a run locks each, {table.locks} locks"
            larger = f"SELECT set_chunk_time_interval('{table.name}', interval '1 year')"
            do = f"raise max_locks_per_transaction, or `{larger}` for new chunks"
            yield Finding("warn", "TimescaleDB", f"{says} of {table.room_for_locks}", do)
