"""Massive's reference data: symbols, splits, closed days of the market, new companies."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from fractions import Fraction
from urllib.parse import quote

import msgspec

from ...contracts.daily.reference import Closure, Listing, SplitsSaid, Ticker
from ...contracts.errors import RestBroken
from ...contracts.market_hours import NEW_YORK
from ...contracts.spellings.json_text import NOT_JSON
from ...contracts.spellings.split_file import Split, ratio_of, spelled_ratio
from ...contracts.spellings.tick_values import NotATick, shown, symbol_of
from ..rest_client import RestClient
from .pages import Page, PageReader

_LIMIT = 1000  # rows of a page, at most, by the manual of /v3/reference
_EXCHANGE = "NYSE"  # all US exchanges close on its days
_HOLIDAYS = {"closed": True, "early-close": False}


class _Split(msgspec.Struct):
    ticker: str
    execution_date: str
    split_from: float
    split_to: float


class _Ticker(msgspec.Struct):
    ticker: str
    name: str | None = None
    type: str | None = None
    active: bool = True
    primary_exchange: str | None = None
    market: str | None = None
    locale: str | None = None
    currency_name: str | None = None
    cik: str | None = None
    composite_figi: str | None = None
    share_class_figi: str | None = None


class _Listing(msgspec.Struct):
    ticker: str
    listing_date: str | None = None


class _Overview(msgspec.Struct):
    market_cap: float | None = None


class _Details(msgspec.Struct):
    results: _Overview


class _Holiday(msgspec.Struct):
    date: str
    status: str
    exchange: str = ""
    name: str = ""
    close: str | None = None


class MassiveReference:
    """Asks for reference data. Its methods raise RestAway, RestRefused, RestBroken, RestStopped."""

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._splits = PageReader(client, Page[_Split], "splits")
        self._tickers = PageReader(client, Page[_Ticker], "tickers")
        self._listings = PageReader(client, Page[_Listing], "listings")
        self._details = msgspec.json.Decoder(_Details)
        self._holidays = msgspec.json.Decoder(list[_Holiday])

    def splits(self, first: date, last: date) -> SplitsSaid:
        """Return the splits of all symbols with an ex-date from `first` to `last`."""
        path = f"/v3/reference/splits?execution_date.gte={first}&execution_date.lte={last}&limit={_LIMIT}"
        found: dict[tuple[str, date], Split] = {}
        refused: list[str] = []
        for page in self._splits.read(path):
            for row in page:
                _add_split(row, found, refused)
        return SplitsSaid(list(found.values()), refused)

    def tickers(self, *, active: bool) -> Iterator[Ticker]:
        """Yield the listed stocks and funds; active False: the delisted ones."""
        word = "true" if active else "false"
        for page in self._tickers.read(f"/v3/reference/tickers?market=stocks&active={word}&limit={_LIMIT}"):
            for row in page:
                try:
                    yield Ticker(symbol_of(row.ticker), *msgspec.structs.astuple(row)[1:])
                except NotATick:
                    continue  # a symbol that no tick can have

    def listings(self, first: date, last: date) -> list[Listing]:
        """Return the companies whose first trading day is from `first` to `last`."""
        path = f"/vX/reference/ipos?listing_date.gte={first}&listing_date.lte={last}&limit={_LIMIT}"
        found = []
        for page in self._listings.read(path):
            for row in page:
                try:
                    found.append(Listing(symbol_of(row.ticker), date.fromisoformat(row.listing_date or "")))
                except (NotATick, ValueError):
                    continue  # not listed yet: without a day or a symbol
        return found

    def market_cap(self, symbol: str) -> float | None:
        """Return a company's market capitalisation in dollars; None if the vendor has no value. Raises RestBroken."""
        body = self._client.get(f"/v3/reference/tickers/{quote(symbol, safe='')}")
        if body is None:
            return None
        try:
            return self._details.decode(body).results.market_cap
        except NOT_JSON as e:
            raise RestBroken(f"{self._client.host}: the answer does not describe a symbol: {e}") from e

    def closures(self) -> list[Closure]:
        """Return the coming days on which the market is closed or closes early. Raises RestBroken."""
        body = self._client.get("/v1/marketstatus/upcoming")
        try:
            rows = self._holidays.decode(body or b"[]")
            return [_closure(row) for row in rows if row.exchange == _EXCHANGE and row.status in _HOLIDAYS]
        except (*NOT_JSON, ValueError) as e:
            raise RestBroken(f"{self._client.host}: the answer is not a list of holidays: {e}") from e


def _closure(row: _Holiday) -> Closure:
    """Read a day. Raises ValueError."""
    day = date.fromisoformat(row.date)
    if _HOLIDAYS[row.status]:
        return Closure(day, None, row.name)
    closes = datetime.fromisoformat(row.close or "")
    closes = closes if closes.tzinfo else closes.replace(tzinfo=UTC)
    return Closure(day, closes.astimezone(NEW_YORK).time(), row.name)


def _add_split(row: _Split, found: dict[tuple[str, date], Split], refused: list[str]) -> None:
    """Add a split; the second of two that contradict each other is refused."""
    try:
        old, new = Fraction(repr(row.split_from)), Fraction(repr(row.split_to))
        split = Split(symbol_of(row.ticker), date.fromisoformat(row.execution_date), ratio_of(new, old))
    except (NotATick, ValueError, ZeroDivisionError) as e:
        refused.append(f"{shown(row.ticker)} on {shown(row.execution_date)}: {e}")
        return
    stands = found.setdefault((split.symbol, split.ex_date), split)
    if stands != split:
        said = f"{spelled_ratio(stands.ratio)} and then {spelled_ratio(split.ratio)}"
        refused.append(f"{split.symbol} on {split.ex_date} is listed twice, {said}: the first is used")
