"""Bars in PostgreSQL: staged by binary COPY in a temporary table, compared with the stored bars, upserted."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...contracts.ticks import MAX_PRICE, MAX_SIZE, Column
from ..postgres import Connection
from ..queries import query
from ..staged_rows import STAGED_DTYPE, TableShape

_EXISTING_DTYPE = [column for column in STAGED_DTYPE if column[0] not in ("partition", "symbol", "minute")]
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"


def table_shape(connection: Connection) -> TableShape:
    """Read the shape of ohlcv_1min: ours, or the application's with fewer digits."""
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
    """Make the temporary table of this connection."""
    connection.execute(query("create_stage"))


def stage(connection: Connection, rows: Column) -> None:
    """Fill the staging table with these rows (STAGED_DTYPE) alone."""
    connection.execute(query("empty_stage"))
    with connection.cursor().copy(query("copy_stage")) as copy:
        copy.write(COPY_HEADER + binary_rows(rows).tobytes() + COPY_TRAILER)


def binary_rows(rows: Column) -> Column:
    """Lay rows out as PostgreSQL's binary COPY wants them: each field big-endian behind its length.

    Text goes out padded with blanks to one width: bpchar takes blanks at the end as none.
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


def unpriced_bars_stand(connection: Connection, partitions: Sequence[int], minutes: Column) -> bool:
    """Tell whether the table has bars of staged minutes without prices; minutes: all that are staged."""
    values = {"partitions": list(partitions)} | time_bounds(minutes)
    return connection.execute(query("unpriced_bars_stand"), values, prepare=False).fetchone() == (True,)


def delete_unpriced(
    connection: Connection, shape: TableShape, partitions: Sequence[int], minutes: Column, *, stand: bool
) -> None:
    """Delete the bars of staged minutes that have no prices any more, and their derived rows.

    minutes: all that are staged; stand: whether the table has any of these bars.
    """
    values = {"partitions": list(partitions)} | time_bounds(minutes)
    if stand:
        connection.execute(query("delete_unpriced_bars"), values, prepare=False)
    if shape.has_detail:
        connection.execute(query("delete_unpriced_bar_details"), values, prepare=False)
    connection.execute(query("delete_indicators_of_gone_bars"), values)
    connection.execute(query("delete_emptied_higher_bars"), values, prepare=False)


def mark_standing(connection: Connection, shape: TableShape, partitions: Sequence[int], rows: Column) -> None:
    """Mark staged bars that the table has as they are, so that upsert leaves them alone; rows: those to look at.

    In a transaction of the caller's.
    """
    symbols = sorted({symbol.decode() for symbol in rows["symbol"].tolist()})
    decimals = {"price_decimals": shape.price_decimals, "volume_decimals": shape.volume_decimals}
    values = {"partitions": list(partitions), "symbols": symbols} | decimals | time_bounds(rows["minute"])
    name = "mark_foreign_standing" if shape.has_detail else "mark_standing"
    connection.execute(query("look_for_each"), {"on": "off"})
    connection.execute(query(name), values, prepare=False)
    connection.execute(query("look_for_each"), {"on": "on"})


def time_bounds(minutes: Column) -> dict[str, int]:
    """Bound a statement on bars in time: TimescaleDB plans for the chunks between alone.

    With prepare=False, because a plan that is kept is made for no values, and so for every chunk.
    """
    return {"first_minute": int(minutes.min()), "last_minute": int(minutes.max())}


def upsert(connection: Connection, shape: TableShape, partitions: Sequence[int], first: int, last: int) -> None:
    """Write the staged bars of some partitions, those with row numbers from first to last."""
    values = {"partitions": list(partitions), "first": first, "last": last}
    if shape.has_detail:
        connection.execute(query("upsert_foreign_ohlcv_1min"), values)
        connection.execute(query("upsert_bar_detail"), values)
    else:
        connection.execute(query("upsert_ohlcv_1min"), values)
    connection.execute(query("upsert_recent_bar"), values)
