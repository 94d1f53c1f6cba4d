"""Applies sql/migrations/*.sql in the order of their numbers, in one transaction, under an advisory lock."""

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
    """Bring the schema up to this program; return the migrations that were applied now.

    Safe to run twice and by two processes at once. Raises SetupError where a right is missing.
    """
    try:
        with connection.transaction():
            connection.execute(query("migration_lock"))
            expect_columns(connection)  # of tables that the application made before us
            connection.execute(query("create_schema_migration"))
            missing = [file for file in _migrations() if file.name not in _applied(connection)]
            for file in missing:
                connection.execute(SQL(file.read_text()))
                connection.execute(query("note_migration"), {"name": file.name})
    except psycopg.errors.InsufficientPrivilege as e:
        raise SetupError(f"migrate: {_refusal(connection, str(e).strip().splitlines()[0])}") from e
    return [file.name for file in missing]


def _refusal(connection: Connection, why: str) -> str:
    """Return what to do about a right that is missing; CREATE on the schema is not advised to who has it."""
    may_create, role = connection.execute(query("may_create")).fetchone() or (False, "this role")
    if not may_create:
        return f"{why}: grant CREATE on the schema to this role"
    return f"{why}: run `tickstock migrate` once as the owner of that table, and then grant its rights to {role}"


def check_schema(connection: Connection) -> None:
    """Raise SetupError where the database is older or newer than this program, or a table of its does not fit."""
    known = {file.name for file in _migrations()}
    exists = connection.execute(query("schema_migration_exists")).fetchone() == (True,)
    applied = _applied(connection) if exists else set()
    if missing := sorted(known - applied):
        raise SetupError(
            f"the database's schema is older than this program ({missing[0]} is missing): run `tickstock migrate`"
        )
    if newer := sorted(applied - known):
        raise SetupError(f"the schema is newer than this program (has {newer[-1]}): upgrade this program")
    expect_columns(connection)


def open_stream(connection: Connection, wanted: int | None) -> int:
    """Return the partition count that is recorded; the first caller records it (wanted, or 16).

    Raises UsageError where another one is wanted, SetupError where a change of it was begun and not ended.
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
    """Return the stream's partition count; None where there is no stream yet.

    Raises SetupError where a change of it was begun and not ended.
    """
    row = connection.execute(query("stream_shape"), {"name": FRONT_DOOR}).fetchone()
    if row is None:
        return None
    partitions, former = row
    if former is not None:
        raise SetupError(
            f"the change from {former} to {partitions} partitions was broken off: "
            f"run `tickstock repartition {partitions}` again"
        )
    return int(partitions)


def expect_partitions(connection: Connection, partitions: int) -> None:
    """Raise SetupError where the stream has another number of partitions by now than this process began with.

    Whoever takes a lease looks afterwards: a change of the number waits for nobody who has none.
    """
    recorded = recorded_partitions(connection)
    if recorded not in (None, partitions):
        raise SetupError(f"the stream has {recorded} partitions now, and had {partitions}: start this process again")


def _applied(connection: Connection) -> set[str]:
    return {name for (name,) in connection.execute(query("applied_migrations"))}


def _migrations() -> list[Traversable]:
    folder = files("tickstockpl.db").joinpath("sql/migrations")
    return sorted(folder.iterdir(), key=lambda file: file.name)
