"""Apply sql/migrations/*.sql in the order of their numbers, in one transaction, under an advisory lock."""

from importlib.resources import files
from importlib.resources.abc import Traversable

import psycopg
from psycopg.sql import SQL

from ...contracts.errors import SetupError, UsageError
from ...contracts.names import FRONT_DOOR
from ..postgres import Connection
from ..queries import query
from .foreign_tables import expect_columns

DEFAULT_PARTITIONS = 16


def migrate(connection: Connection) -> list[str]:
    """Update the schema to this program's version; return the migrations that were applied now.

    Safe to run twice and by two processes at the same time. Raises SetupError if a right is missing, or if
    the schema is newer than this program.
    """
    try:
        with connection.transaction():
            connection.execute(query("migration_lock"))
            expect_columns(connection)  # of tables that the application made earlier
            connection.execute(query("create_schema_migration"))
            applied = _applied(connection)
            _refuse_newer(applied)
            missing = [file for file in _migrations() if file.name not in applied]
            for file in missing:
                connection.execute(SQL(file.read_text()))
                connection.execute(query("note_migration"), {"name": file.name})
    except psycopg.errors.InsufficientPrivilege as e:
        raise SetupError(f"migrate: {_refusal(connection, str(e).strip().splitlines()[0])}") from e
    return [file.name for file in missing]


def _refusal(connection: Connection, why: str) -> str:
    """Return what to do about a missing right. Do not advise CREATE on the schema to a role that has it."""
    may_create, role = connection.execute(query("may_create")).fetchone() or (False, "this role")
    if not may_create:
        return f"{why}: grant CREATE on the schema to this role"
    return f"{why}: run `tickstock migrate` once as the owner of that table, and then grant its rights to {role}"


def check_schema(connection: Connection) -> None:
    """Raise SetupError if the database is older or newer than this program, or one of its tables does not fit."""
    known = {file.name for file in _migrations()}
    exists = connection.execute(query("schema_migration_exists")).fetchone() == (True,)
    applied = _applied(connection) if exists else set()
    if missing := sorted(known - applied):
        raise SetupError(
            f"the database's schema is older than this program ({missing[0]} is missing): run `tickstock migrate`"
        )
    _refuse_newer(applied)
    expect_columns(connection)


def _refuse_newer(applied: set[str]) -> None:
    if newer := sorted(applied - {file.name for file in _migrations()}):
        raise SetupError(f"the schema is newer than this program (has {newer[-1]}): upgrade this program")


def open_stream(connection: Connection, wanted: int | None) -> int:
    """Return the recorded partition count; the first caller records it (wanted, or 16).

    Raises UsageError if another count is wanted, SetupError if a change of it is not finished.
    """
    values = {"name": FRONT_DOOR, "partitions": wanted or DEFAULT_PARTITIONS}
    with connection.transaction():
        connection.execute(query("hold_stream"))
        connection.execute(query("create_stream"), values)
        partitions = recorded_partitions(connection) or 0
        connection.execute(query("create_checkpoints"), {"partitions": partitions})
        connection.execute(query("create_partition_leases"), {"partitions": partitions})
    if wanted and wanted != partitions:
        raise UsageError(f"--partitions is {wanted}, but this stream has {partitions}: leave the option out")
    return partitions


def recorded_partitions(connection: Connection) -> int | None:
    """Return the stream's partition count; None if there is no stream yet.

    Raises SetupError if a change of it is not finished.
    """
    row = connection.execute(query("stream_shape"), {"name": FRONT_DOOR}).fetchone()
    if row is None:
        return None
    partitions, former = row
    if former is not None:
        raise SetupError(
            f"the change from {former} to {partitions} partitions was not finished: "
            f"run `tickstock repartition {partitions}` again"
        )
    return int(partitions)


def expect_partitions(connection: Connection, partitions: int) -> None:
    """Raise SetupError if the stream's partition count has changed since this process started.

    Check after taking a lease: a repartition waits only for processes with a lease.
    """
    recorded = recorded_partitions(connection)
    if recorded not in (None, partitions):
        raise SetupError(f"the stream now has {recorded} partitions, not {partitions}: restart this process")


def _applied(connection: Connection) -> set[str]:
    return {name for (name,) in connection.execute(query("applied_migrations"))}


def _migrations() -> list[Traversable]:
    folder = files("tickstockpl.db").joinpath("sql/migrations")
    return sorted(folder.iterdir(), key=lambda file: file.name)
