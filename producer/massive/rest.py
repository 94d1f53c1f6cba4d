"""Massive's REST: the minute bars of a symbol as whole-minute rows, page by page."""

from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

import msgspec

from ...contracts.bar import MINUTE_MS
from ...contracts.spellings.aggregate import aggregate_row
from ...contracts.spellings.json_text import NOT_JSON
from ...contracts.spellings.tick_values import NotATick, TickRow, number_of, shown, size_of, symbol_of, ticks_of_rows
from ...contracts.ticks import MAX_BODY_BYTES, MAX_TRADE_COUNT, MAX_TS_NS, MIN_TS_NS, Refused, Ticks, concat
from ..rest_client import RestBroken, RestClient

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
    n: object = None  # trades
    dv: str | None = None  # the volume as decimal text, where it is fractional


class _Page(msgspec.Struct):
    status: str = ""
    results: list[_Bar] | msgspec.UnsetType | None = msgspec.UNSET
    resultsCount: int | None = None  # noqa: N815  # the vendor's name
    next_url: str | None = None


_ANSWERED = ("OK", "DELAYED")  # a page's status; DELAYED: of a plan whose data is 15 minutes old
_UNKNOWN_SYMBOL = _Page("OK", [])

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
        bars = {bar.t: bar for page in pages for bar in page}
        inside = [bar for start, bar in sorted(bars.items()) if first <= start // MINUTE_MS <= last]
        return _ticks_of(symbol, inside)

    def _pages(self, url: str) -> Iterator[list[_Bar]]:
        """Read the bars of each page until the last one.

        Raises RestBroken where a page leads back to another, they never end, or one does not hold what it says: no
        answer is no answer, and never "no bars".
        """
        met: set[str] = set()
        count = 0
        while url not in met and len(met) < _MAX_PAGES:
            met.add(url)
            page = self._page(url)
            bars = self._bars_of(page)
            count += len(bars)
            yield bars
            if not page.next_url:
                # Of one page by the vendor's practice, of all by its manual: fewer than that is a part of the answer.
                if count < (page.resultsCount or 0):
                    raise RestBroken(f"{self._client.host}: {count} bars came, but it counts {page.resultsCount}")
                return
            url = self._client.follow(url, page.next_url)
        raise RestBroken(f"{self._client.host}: next_url never ends")

    def _page(self, url: str) -> _Page:
        body = self._client.get(url)
        if body is None:
            return _UNKNOWN_SYMBOL
        try:
            return _pages.decode(body)
        except NOT_JSON as e:
            raise RestBroken(f"{self._client.host}: the answer is not a page of bars: {e}") from e

    def _bars_of(self, page: _Page) -> list[_Bar]:
        if page.status not in _ANSWERED:
            raise RestBroken(f"{self._client.host}: a page of status {shown(page.status)}")
        if isinstance(page.results, list):
            return page.results
        # A page without bars lacks `results`, and counts 0.
        if page.results is msgspec.UNSET and page.resultsCount == 0:
            return []
        raise RestBroken(f"{self._client.host}: a page that neither has results nor counts none")


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
    """Raise NotATick where a price is null: the live feed leaves such out, REST always says them."""
    for name, value in (("open", bar.o), ("high", bar.h), ("low", bar.l)):
        if value is None:
            raise NotATick("price", f"{name} is missing")


def _count_of(value: object) -> int:
    """Return how many trades a bar stands for; 0 where it does not say. Raises NotATick."""
    if value is None:
        return 0
    number = number_of(value)
    if not (0 <= number < MAX_TRADE_COUNT and number.is_integer()):
        raise NotATick("size", f"n is not a count of trades: {shown(value)}")
    return int(number)
