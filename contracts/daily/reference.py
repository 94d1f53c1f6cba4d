"""A vendor's reference data: listed symbols, splits, closed days, new companies. Pure."""

from collections.abc import Sequence
from datetime import date, time
from typing import NamedTuple

from ..spellings.split_file import Split


class Ticker(NamedTuple):
    """A listed symbol; the fields are the columns of `symbols`. None: the vendor gives no value."""

    symbol: str
    name: str | None
    type: str | None
    active: bool
    primary_exchange: str | None = None
    market: str | None = None
    locale: str | None = None
    currency_name: str | None = None
    cik: str | None = None
    composite_figi: str | None = None
    share_class_figi: str | None = None


class Closure(NamedTuple):
    """A day on which the market is closed (closes_at None), or closes early. closes_at: New York."""

    day: date
    closes_at: time | None
    reason: str


class Listing(NamedTuple):
    """A new company: its symbol and its first trading day."""

    symbol: str
    day: date


class SplitsSaid(NamedTuple):
    """A vendor's splits, each once. refused: a sentence for each that is impossible or contradicts another one."""

    splits: Sequence[Split]
    refused: Sequence[str]
