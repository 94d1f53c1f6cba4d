"""Massive's REST: the minute bars of a symbol as whole-minute rows, page by page."""

from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

import msgspec

from ..contracts.bar import MINUTE_MS
from ..contracts.json_text import NOT_JSON
from ..contracts.tick_values import NotATick, Row, price_of, size_of, symbol_of, ticks_of_rows
from ..contracts.ticks import MAX_BODY_BYTES, MAX_TS_NS, MIN_TS_NS, Refused, Ticks, concat
from .rest_client import RestBroken, RestClient

REST_URL = "https://api.massive.com"
PAGE_LIMIT = 50_000  # base aggregates a page at most, says the manual of /v2/aggs
RANGE_MINUTES = 30 * 24 * 60  # of one question: below a page's limit, so that paging is the exception
_MAX_PAGES = 1000  # of one question


class _Bar(msgspec.Struct):
    t: int  # start, Unix ms
    o: object = None
    h: object = None
    l: object = None  # noqa: E741  # the vendor's name for the low
    c: object = None
    v: object = None
    vw: object = None
    dv: str | None = None  # the volume as decimal text, where it is fractional


class _Page(msgspec.Struct):
    results: list[_Bar] | None = None
    next_url: str | None = None


_pages = msgspec.json.Decoder(_Page)


class MassiveRest:
    """Asks for bars, in one thread."""

    def __init__(
        self, url: str, key: str, *, per_minute: float, wait: Callable[[float], bool], page_limit: int = PAGE_LIMIT
    ) -> None:
        """wait: sleep so many seconds, True to stop. Raises UsageError where the address is none."""
        self._client = RestClient(url, key, per_minute=per_minute, wait=wait)
        self._page_limit = page_limit

    def __repr__(self) -> str:
        return f"MassiveRest({self._client.host})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def minute_bars(self, symbol: str, first_ms: int, last_ms: int) -> Ticks:
        """Return the minutes of a symbol that start from first_ms to last_ms (Unix ms), oldest first.

        Each is one row with whole_minute 1. A minute that no trade made a bar of is not among them; a symbol that
        nobody knows has none. Prices are unadjusted, as the live feed says them.
        Raises RestAway, RestRefused, RestBroken, RestStopped (rest_client).
        """
        first, last = -(-first_ms // MINUTE_MS), last_ms // MINUTE_MS
        starts = range(first, last + 1, RANGE_MINUTES)
        return concat(self._range(symbol, start, min(start + RANGE_MINUTES - 1, last)) for start in starts)

    def _range(self, symbol: str, first: int, last: int) -> Ticks:
        path = f"/v2/aggs/ticker/{quote(symbol, safe='')}/range/1/minute/{first * MINUTE_MS}/{last * MINUTE_MS}"
        pages = self._pages(f"{path}?adjusted=false&sort=asc&limit={self._page_limit}")
        bars = {bar.t: bar for page in pages for bar in page.results or ()}
        inside = [bar for start, bar in sorted(bars.items()) if first <= start // MINUTE_MS <= last]
        return _ticks_of(symbol, inside)

    def _pages(self, url: str) -> Iterator[_Page]:
        """Read pages until the last one. Raises RestBroken where one leads back to another, or they never end."""
        met: set[str] = set()
        while url not in met and len(met) < _MAX_PAGES:
            met.add(url)
            page = self._page(url)
            yield page
            if not page.next_url:
                return
            url = self._client.follow(url, page.next_url)
        raise RestBroken(f"{self._client.host}: next_url never ends")

    def _page(self, url: str) -> _Page:
        body = self._client.get(url)
        if body is None:
            return _Page()
        try:
            return _pages.decode(body)
        except NOT_JSON as e:
            raise RestBroken(f"{self._client.host}: the answer is not a page of bars: {e}") from e


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
    except RecursionError:  # a field of ours holds what is nested as deep as the stack
        return b"nested too deeply"


def _row_of(symbol: str, bar: _Bar) -> Row:
    ts = bar.t * 1_000_000
    if not MIN_TS_NS <= ts < MAX_TS_NS:
        raise NotATick("timestamp", f"not a time from 1990 to 2099: {bar.t}")
    opened, high, low = (price_of(value, name) for value, name in ((bar.o, "open"), (bar.h, "high"), (bar.l, "low")))
    close = price_of(bar.c, "close")
    vwap = None if bar.vw is None else price_of(bar.vw, "vwap")
    size = size_of(bar.v if bar.dv is None else bar.dv)
    # Widened as those of the live feed are.
    high, low = max(high, opened, close), min(low, opened, close)
    return Row(symbol_of(symbol), ts, close, size, opened, high, low, vwap, 1)
