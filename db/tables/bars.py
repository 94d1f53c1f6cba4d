"""Bars in PostgreSQL: staged by binary COPY in a temporary table, compared with stored bars, upserted."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg

from ...contracts.ticks import MAX_PRICE, MAX_SIZE, Column
from ..postgres import Connection
from ..queries import query
from ..staged_rows import STAGED_DTYPE, TableShape

_EXISTING_DTYPE = [column for column in STAGED_DTYPE if column[0] not in ("partition", "symbol", "minute", "fresh")]
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"


def table_shape(connection: Connection) -> TableShape:
    """Read the limits of ohlcv_1min: ours, or the application's with fewer digits."""
    types: dict[str, str] = dict(connection.execute(query("ohlcv_1min_columns")))
    price_decimals, max_price = _digits(types["open"], MAX_PRICE)
    volume_decimals, max_size = _digits(types["volume"], MAX_SIZE)
    (has_detail,) = connection.execute(query("has_bar_detail")).fetchone() or (False,)
    return TableShape(price_decimals, volume_decimals, max_price, max_size, bool(has_detail))


def _digits(sql_type: str, most: float) -> tuple[int, float]:
    if numeric := re.fullmatch(r"numeric\((\d+),(\d+)\)", sql_type):
        precision, scale = int(numeric[1]), int(numeric[2])
        return scale, min(most, 10.0 ** (precision - scale))
    return (0, min(most, 2.0**63)) if sql_type == "bigint" else (6, most)


def open_stage(connection: Connection) -> None:
    """Create this connection's temporary table."""
    connection.execute(query("create_stage"))


def stage(connection: Connection, rows: Column) -> None:
    """Replace the contents of the staging table by these rows (STAGED_DTYPE)."""
    connection.execute(query("empty_stage"))
    with connection.cursor().copy(query("copy_stage")) as copy:
        copy.write(COPY_HEADER + binary_rows(rows).tobytes() + COPY_TRAILER)


def binary_rows(rows: Column) -> Column:
    """Convert rows to PostgreSQL's binary COPY format: each field big-endian, after its length.

    Texts are padded with blanks to one width: bpchar ignores blanks at the end.
    """
    columns = {
        name: _padded(rows[name]) if rows[name].dtype.kind == "S" else rows[name] for name in rows.dtype.names or ()
    }
    layout: list[tuple[str, Any]] = [("fields", ">i2")]
    for name, column in columns.items():
        layout += [(f"{name} bytes", ">i4"), (name, column.dtype.newbyteorder(">"))]
    binary = np.empty(len(rows), layout)
    binary["fields"] = len(columns)
    for name, column in columns.items():
        binary[f"{name} bytes"] = column.dtype.itemsize
        binary[name] = column
    return binary


def _padded(text: Column) -> Column:
    width = int(np.strings.str_len(text).max(initial=1))
    cut = text.astype(f"S{width}")
    octets = cut.view("u1")
    octets[octets == 0] = ord(" ")
    return cut


def existing(connection: Connection) -> Column:
    """Return the stored bars with the keys of staged bars: row_number, feed, revision, values; unordered."""
    rows = [(number, feed.encode(), *rest) for number, feed, *rest in connection.execute(query("staged_over_existing"))]
    return np.array(rows, _EXISTING_DTYPE)


def no_existing() -> Column:
    """Return the array that `existing` returns if no bar is stored."""
    return np.empty(0, _EXISTING_DTYPE)


def fresh_partitions_stored(connection: Connection, partitions: Sequence[int]) -> list[int]:
    """Return the partitions with a staged bar that was taken for fresh although it is stored."""
    values = {"partitions": list(partitions)}
    return [partition for (partition,) in connection.execute(query("fresh_partitions_stored"), values)]


def unpriced_bars_stand(connection: Connection, partitions: Sequence[int], minutes: Column) -> bool:
    """Tell whether the table has bars of staged minutes without prices; minutes: of all staged bars."""
    values = {"partitions": list(partitions)} | time_bounds(minutes)
    return connection.execute(query("unpriced_bars_stand"), values, prepare=False).fetchone() == (True,)


def delete_unpriced(
    connection: Connection, shape: TableShape, partitions: Sequence[int], minutes: Column, *, stand: bool
) -> None:
    """Delete the bars of staged minutes that lost all prices, and their derived rows.

    minutes: of all staged bars; stand: whether the table has any such bar.
    """
    values = {"partitions": list(partitions)} | time_bounds(minutes)
    if stand:
        connection.execute(query("delete_unpriced_bars"), values, prepare=False)
    if shape.has_detail:
        connection.execute(query("delete_unpriced_bar_details"), values, prepare=False)
    connection.execute(query("delete_indicators_of_gone_bars"), values)
    connection.execute(query("delete_emptied_higher_bars"), values, prepare=False)


def mark_standing(connection: Connection, shape: TableShape, partitions: Sequence[int], rows: Column) -> None:
    """Mark staged bars that the table already has unchanged, so that upsert skips them; rows: the bars to check.

    Call it inside a transaction.
    """
    symbols = sorted({symbol.decode() for symbol in rows["symbol"].tolist()})
    decimals = {"price_decimals": shape.price_decimals, "volume_decimals": shape.volume_decimals}
    values = {"partitions": list(partitions), "symbols": symbols} | decimals | time_bounds(rows["minute"])
    name = "mark_foreign_standing" if shape.has_detail else "mark_standing"
    connection.execute(query("look_for_each"), {"on": "off"})
    connection.execute(query(name), values, prepare=False)
    connection.execute(query("look_for_each"), {"on": "on"})


def time_bounds(minutes: Column) -> dict[str, int]:
    """Return time bounds for a statement on bars: then TimescaleDB plans only for the chunks between.

    Use prepare=False: a cached plan has no values, and so includes every chunk.
    """
    return {"first_minute": int(minutes.min()), "last_minute": int(minutes.max())}


def upsert(
    connection: Connection, shape: TableShape, partitions: Sequence[int], first: int, last: int, *, insert: bool = False
) -> None:
    """Write the staged bars of some partitions, with row numbers from first to last.

    insert: fresh bars must not be stored yet; otherwise PostgreSQL refuses them (`is_fresh_stored`).
    """
    values = {"partitions": list(partitions), "first": first, "last": last, "fresh_too": not insert}
    if shape.has_detail:
        connection.execute(query("upsert_foreign_ohlcv_1min"), values)
        connection.execute(query("upsert_bar_detail"), values)
    else:
        connection.execute(query("upsert_ohlcv_1min"), values)
    if insert:
        connection.execute(query("insert_fresh_recent_bar"), {"partitions": list(partitions)})
    connection.execute(query("upsert_recent_bar"), values)


def is_fresh_stored(error: psycopg.Error) -> bool:
    """Tell whether a fresh bar was stored already."""
    return isinstance(error, psycopg.errors.UniqueViolation) and error.diag.table_name == "recent_bar"
