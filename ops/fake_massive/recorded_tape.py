"""Recorded trades as the fake server's tape: a flat file, sent as if it happened now."""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO, cast

from msgspec import structs

from ...contracts.errors import UsageError
from .trade import Trade, trade_of

_COLUMNS = ("ticker", "price", "size", "sip_timestamp")
_MAX_CONDITION = 255  # larger numbers are another vendor's


class RecordedTape:
    """The trades of some flat files in the order of their times; all of them are in memory.

    Rows with a correction are left out: on the WebSocket a trade that is cancelled later looks like any other.
    """

    def __init__(self, files: Sequence[Path], *, start_ns: int | None = None, speed: float = 1.0) -> None:
        """start_ns: time of the first trade, Unix ns; None: its recorded time. speed: a multiple of market time.

        Raises UsageError if a file is not a trade flat file.
        """
        self._recorded = [row for file in files for row in _recorded(file)]
        if not self._recorded:
            raise UsageError("the recording holds no trade")
        self._recorded.sort(key=itemgetter(0))  # stable: the file's order counts within a nanosecond
        self._next = 0
        self._first_ns = self._recorded[0][0]
        self._start_ns = self._first_ns if start_ns is None else start_ns
        self._speed = speed

    def until(self, now_ns: int) -> list[Trade]:
        """Return the trades up to now that were not returned before."""
        trades = []
        while self._next < len(self._recorded):
            recorded_ns, trade = self._recorded[self._next]
            at_ns = self._start_ns + round((recorded_ns - self._first_ns) / self._speed)
            if at_ns > now_ns:
                break
            self._next += 1
            at_ms = at_ns // 1_000_000
            trf_at_ms = None if trade.trf_id is None else at_ms
            # A recording without ids: with equal ids two trades would count as one.
            trade_id = trade.trade_id or str(self._next)
            trades.append(
                structs.replace(trade, at_ms=at_ms, trf_at_ms=trf_at_ms, sequence=self._next, trade_id=trade_id)
            )
        return trades


def _recorded(file: Path) -> list[tuple[int, Trade]]:
    """Read a file: (Unix ns, trade)."""
    rows = list(_rows(file))
    # Other vendors use other codes in this column: better none than wrong ones.
    understood = all(map(_is_massive, {row["conditions"] for row in rows}))
    try:
        return [_trade(row, understood) for row in rows]
    except (ValueError, TypeError) as e:  # TypeError: a row that ends too early
        raise UsageError(f"{file}: a row is not a trade: {e}") from e


def _trade(row: dict[str, str], understood: bool) -> tuple[int, Trade]:
    at_ns = int(row["sip_timestamp"])
    trade = trade_of(
        row["ticker"],
        at_ns // 1_000_000,
        float(row["price"]),
        float(row["size"]),
        conditions=tuple(map(int, _codes(row["conditions"]))) if understood else (),
        exchange=int(row.get("exchange") or 0),
        trade_id=row.get("id") or "",
        tape=int(row.get("tape") or 0),
        trf_id=int(row.get("trf_id") or 0) or None,
    )
    return at_ns, trade


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with cast("IO[bytes]", gzip.open(file) if file.suffix == ".gz" else file.open("rb")) as content:
        lines = csv.DictReader(io.TextIOWrapper(content, "utf-8", newline=""))
        if missing := [name for name in _COLUMNS if name not in (lines.fieldnames or ())]:
            raise UsageError(f"{file}: not a trade flat file: its first line lacks {', '.join(missing)}")
        for row in lines:
            if (row.get("correction") or "0") == "0":
                yield {"conditions": "", **row}


def _codes(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_massive(text: str) -> bool:
    """Tell whether a field holds Massive's condition numbers, separated by commas."""
    return all(code.isascii() and code.isdigit() and int(code) <= _MAX_CONDITION for code in _codes(text))
