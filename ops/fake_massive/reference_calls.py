"""The REST calls for whole days and for symbols: https://massive.com/docs/rest/stocks, with paging."""

import re
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .misbehaviour import Misbehaviour
from .reference import DayRow, Reference, close_ms, midnight_ms

_DEFAULT_LIMIT = 100
_MAX_DAYS = 20_000
Options = dict[str, str]


class ReferenceCalls:
    """Answers the calls for reference data."""

    def __init__(self, reference: Reference, misbehaviour: Misbehaviour) -> None:
        self.address = ""  # of the server itself, for next_url
        self._reference = reference
        self._misbehaviour = misbehaviour
        self._calls: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Options], Any]], ...] = (
            (re.compile(r"/v2/aggs/grouped/locale/us/market/stocks/(?P<day>[\d-]{10})"), self._grouped),
            (re.compile(r"/v2/aggs/ticker/(?P<ticker>[^/]+)/range/1/day/(?P<first>[\d-]{10})/(?P<last>[\d-]{10})"),
             self._days),
            (re.compile(r"/v3/reference/splits"), self._splits),
            (re.compile(r"/v3/reference/tickers"), self._tickers),
            (re.compile(r"/v3/reference/tickers/(?P<ticker>[^/]+)"), self._overview),
            (re.compile(r"/vX/reference/ipos"), self._listings),
            (re.compile(r"/v1/marketstatus/upcoming"), lambda _, __: self._reference.holidays),
        )  # fmt: skip

    def answer(self, path_and_query: str) -> Any:
        """Return the body of an answer; None if it is another call. Raises ValueError."""
        url = urlsplit(path_and_query)
        options = {name: values[-1] for name, values in parse_qs(url.query).items()}
        for pattern, call in self._calls:
            if found := pattern.fullmatch(url.path):
                return call(found, options)
        return None

    def _grouped(self, asked: re.Match[str], options: Options) -> dict[str, Any]:
        day = date.fromisoformat(asked["day"])
        rows = [_result(row, close_ms(day)) | {"T": row.symbol} for row in self._reference.bars(day)]
        return self._aggregates(rows, options)

    def _days(self, asked: re.Match[str], options: Options) -> dict[str, Any]:
        first, last = date.fromisoformat(asked["first"]), date.fromisoformat(asked["last"])
        days = [first + timedelta(days=i) for i in range(min((last - first).days + 1, _MAX_DAYS))]
        ticker = unquote(asked["ticker"])
        bars = [(self._reference.bar(ticker, day), day) for day in days]
        rows = [_result(row, midnight_ms(day)) for row, day in bars if row is not None]
        return self._aggregates(rows, options) | {"ticker": ticker}

    def _aggregates(self, rows: list[dict[str, Any]], options: Options) -> dict[str, Any]:
        if self._misbehaviour.does("empty"):
            rows = []
        if rows and self._misbehaviour.does("duplicates"):
            rows = [*rows, rows[0], rows[-1] | {"c": rows[-1]["l"]}]
        count = {"queryCount": len(rows), "resultsCount": len(rows), "count": len(rows)}
        page = {"adjusted": options.get("adjusted", "true") == "true", "status": "OK", "request_id": "0" * 32, **count}
        return page | ({"results": rows} if rows else {})

    def _splits(self, _: re.Match[str], options: Options) -> dict[str, Any]:
        rows = _between(self._reference.splits, "execution_date", options)
        if rows and self._misbehaviour.does("duplicates"):
            rows = [*rows, rows[0], rows[-1] | {"split_to": rows[-1]["split_to"] * 3}]
        return self._listed(rows, "/v3/reference/splits", options)

    def _tickers(self, _: re.Match[str], options: Options) -> dict[str, Any]:
        is_active = options.get("active", "true") == "true"
        rows = [row for row in self._reference.tickers if row["active"] == is_active]
        return self._listed(rows, "/v3/reference/tickers", options)

    def _overview(self, asked: re.Match[str], _: Options) -> dict[str, Any]:
        ticker = unquote(asked["ticker"])
        row = next((row for row in self._reference.tickers if row["ticker"] == ticker), None)
        if row is None:
            return {"status": "NOT_FOUND", "error": "Ticker not found."}
        cap = self._reference.market_caps.get(ticker)
        return {"status": "OK", "results": row | ({} if cap is None else {"market_cap": cap})}

    def _listings(self, _: re.Match[str], options: Options) -> dict[str, Any]:
        rows = _between(self._reference.listings, "listing_date", options)
        return self._listed(rows, "/vX/reference/ipos", options)

    def _listed(self, rows: Sequence[dict[str, Any]], path: str, options: Options) -> dict[str, Any]:
        """Return one page of a list; the cursor is the place of its first row."""
        limit, first = int(options.get("limit", _DEFAULT_LIMIT)), int(options.get("cursor", 0))
        page: dict[str, Any] = {"status": "OK", "request_id": "0" * 32, "results": rows[first : first + limit]}
        if self._misbehaviour.does("next_url_elsewhere"):
            return page | {"next_url": f"http://elsewhere.invalid{path}?cursor=1"}
        loops = self._misbehaviour.does("next_url_loop")
        if not loops and first + limit >= len(rows):
            return page
        others = "".join(f"&{name}={quote(value)}" for name, value in options.items() if name != "cursor")
        return page | {"next_url": f"{self.address}{path}?cursor={first if loops else first + limit}{others}"}


def _result(row: DayRow, at_ms: int) -> dict[str, Any]:
    return {"v": row.volume, "o": row.open, "c": row.close, "h": row.high, "l": row.low, "t": at_ms, "n": 1}


def _between(rows: Sequence[dict[str, Any]], name: str, options: Options) -> list[dict[str, Any]]:
    first, last = options.get(f"{name}.gte", ""), options.get(f"{name}.lte", "9")
    return [row for row in rows if first <= row[name] <= last]
