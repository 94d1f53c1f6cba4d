"""Massive's REST API: the 1-minute bars of a symbol, as rows that count as whole minutes."""

from collections.abc import Callable, Iterable
from urllib.parse import quote

import msgspec

from ...contracts.bar import MINUTE_MS
from ...contracts.spellings.aggregate import aggregate_row
from ...contracts.spellings.tick_values import NotATick, TickRow, number_of, shown, size_of, symbol_of, ticks_of_rows
from ...contracts.ticks import MAX_BODY_BYTES, MAX_TRADE_COUNT, MAX_TS_NS, MIN_TS_NS, Refused, Ticks, concat
from ..rest_client import RestClient
from .pages import Page, PageReader

REST_URL = "https://api.massive.com"
REST_PER_MINUTE = 3000.0  # requests: far below what the vendor refuses
PAGE_LIMIT = 50_000  # base aggregates of a page, at most, by the manual of /v2/aggs
RANGE_MINUTES = 30 * 24 * 60  # of one request: below a page's limit, so that few answers have a second page


class _Bar(msgspec.Struct):
    t: int  # start, Unix ms
    o: object = None
    h: object = None
    l: object = None  # noqa: E741  # the vendor's name for the low
    c: object = None
    v: object = None
    vw: object = None
    n: object = None  # trades
    dv: str | None = None  # the volume as decimal text, if it is fractional


class MassiveRest:
    """Asks for bars, in one thread."""

    def __init__(
        self, url: str, key: str, *, per_minute: float, wait: Callable[[float], bool], page_limit: int = PAGE_LIMIT
    ) -> None:
        """wait: wait this number of seconds, return True to stop. Raises UsageError if the address is not a URL."""
        self._client = RestClient(url, key, per_minute=per_minute, wait=wait)
        self._bars = PageReader(self._client, Page[_Bar], "bars")
        self._page_limit = page_limit

    def __repr__(self) -> str:
        return f"MassiveRest({self._client.host})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def minute_bars(self, symbol: str, first_ms: int, last_ms: int) -> Ticks:
        """Return a symbol's 1-minute bars that start from first_ms to last_ms (Unix ms), oldest first.

        Each bar is one row with whole_minute 1. A minute without trades has no row, and an unknown symbol has no rows.
        Prices are not adjusted for splits, as in the live feed.
        Raises RestAway, RestRefused, RestBroken, RestStopped (rest_client).
        """
        first, last = -(-first_ms // MINUTE_MS), last_ms // MINUTE_MS
        starts = range(first, last + 1, RANGE_MINUTES)
        return concat(self._range(symbol, start, min(start + RANGE_MINUTES - 1, last)) for start in starts)

    def _range(self, symbol: str, first: int, last: int) -> Ticks:
        path = f"/v2/aggs/ticker/{quote(symbol, safe='')}/range/1/minute/{first * MINUTE_MS}/{last * MINUTE_MS}"
        pages = self._bars.read(f"{path}?adjusted=false&sort=asc&limit={self._page_limit}")
        bars = {bar.t: bar for page in pages for bar in page}
        inside = [bar for start, bar in sorted(bars.items()) if first <= start // MINUTE_MS <= last]
        return _ticks_of(symbol, inside)


def _ticks_of(symbol: str, bars: Iterable[_Bar]) -> Ticks:
    rows, refused = [], []
    for bar in bars:
        try:
            rows.append(_row_of(symbol, bar))
        except NotATick as e:
            original = _spelled({"ev": "AM", "sym": symbol, "bar": bar})
            refused.append(Refused(e.reason, e.detail, original[:MAX_BODY_BYTES]))
    return ticks_of_rows(rows, refused)


def _spelled(message: object) -> bytes:
    try:
        return msgspec.json.encode(message)
    except RecursionError:  # the value of a field is nested as deep as the stack
        return b"nested too deeply"


def _row_of(symbol: str, bar: _Bar) -> TickRow:
    ts = bar.t * 1_000_000
    if not MIN_TS_NS <= ts < MAX_TS_NS:
        raise NotATick("timestamp", f"not a time from 1990 to 2099: {bar.t}")
    size = size_of(bar.v if bar.dv is None else bar.dv)
    if size:
        _expect_prices(bar)
    row = aggregate_row(symbol_of(symbol), ts, size, bar.c, (bar.o, bar.h, bar.l, bar.vw))
    return row._replace(whole_minute=1, trade_count=_count_of(bar.n))


def _expect_prices(bar: _Bar) -> None:
    """Raise NotATick if a price is null: the live feed may leave prices out, REST always has them."""
    for name, value in (("open", bar.o), ("high", bar.h), ("low", bar.l)):
        if value is None:
            raise NotATick("price", f"{name} is missing")


def _count_of(value: object) -> int:
    """Return the number of trades in a bar; 0 if the bar has no such field. Raises NotATick."""
    if value is None:
        return 0
    number = number_of(value)
    if not (0 <= number < MAX_TRADE_COUNT and number.is_integer()):
        raise NotATick("size", f"n is not a count of trades: {shown(value)}")
    return int(number)
