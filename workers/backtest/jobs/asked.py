"""Read the application's messages: requests on `tickstock.jobs.backtest` and cancels on `tickstock.jobs.cancel`."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec

from ....contracts.daily.job import fields_of, job_id_of, name_of, shown, symbols_given
from ....contracts.errors import UsageError
from ....contracts.timeframe import INTRADAY
from ....db.postgres import Connection
from ....db.tables.backtests import unknown_symbols
from ..backtest import check
from ..report import Request
from ..rules import Rules

BACKTEST, CANCEL = "backtest_job", "cancel_job"
MOST_SYMBOLS, MOST_DAYS = 50, 1825  # the limits of the application's own form
MOST_BARS = 5_000_000  # of the traded timeframe: about 270 MB in the process that trades
_SESSION_MINUTES, _TRADING_DAYS = 390, 5 / 7
_PARAMETERS = Rules.__struct_fields__
_MAY_BE_NONE = ("stop_loss_pct", "take_profit_pct", "max_bars")


class Asked(NamedTuple):
    """A job, its sender and its request. why: the reason if the job cannot be done; request is None then."""

    job_id: str
    requested_by: str
    request: Request | None
    why: str | None = None


def read_backtest(connection: Connection, body: bytes, today: date) -> Asked:
    """Read a message. Raises UsageError if it does not name its job; the answer's `why` gives any other fault."""
    fields = fields_of(body)
    job_id, by = job_id_of(fields), name_of(fields.get("user_id") or fields.get("requested_by"))
    try:
        _check_type(fields, BACKTEST)
        return Asked(job_id, by, request_of(connection, fields, today))
    except UsageError as e:
        return Asked(job_id, by, None, str(e))


def read_cancel(body: bytes) -> str:
    """Return the id of the job that a message cancels. Raises UsageError."""
    fields = fields_of(body)
    _check_type(fields, CANCEL)
    return job_id_of(fields)


def request_of(connection: Connection, fields: Mapping[str, Any], today: date) -> Request:
    """Convert the fields of a message or call to a request. Raises UsageError for the first wrong field.

    today: in New York. A backtest must not end after it: on the next day the same request would give another result.
    """
    request = Request(
        symbols=_some(_given(fields, "symbols"), MOST_SYMBOLS),
        patterns=_words(_given(fields, "patterns"), "patterns"),
        start=_day(_given(fields, "start_date"), "start_date"),
        end=_day(_given(fields, "end_date"), "end_date"),
        timeframe=str(fields.get("timeframe") or "daily"),
        rules=_rules(fields.get("parameters")),
    )
    check(request)
    _check_size(request, today)
    if unknown := unknown_symbols(connection, request.symbols):
        raise UsageError(f"{len(unknown)} symbols are unknown: {', '.join(unknown[:5])}")
    return request


def _check_type(fields: Mapping[str, Any], wanted: str) -> None:
    if fields.get("type", wanted) != wanted:
        raise UsageError(f"there is no type {shown(fields['type'])}; there is: {wanted}")


def _check_size(request: Request, today: date) -> None:
    start, end = date.fromisoformat(request.start), date.fromisoformat(request.end)
    if end > today:
        raise UsageError(f"end_date {end} has not come yet")
    if end - start > timedelta(days=MOST_DAYS):
        raise UsageError(f"{(end - start).days:,} days from {start} to {end} are too many: {MOST_DAYS:,} at most")
    if request.timeframe in INTRADAY:
        a_day = _SESSION_MINUTES / INTRADAY[request.timeframe]
        bars = round((end - start).days * _TRADING_DAYS * a_day * len(request.symbols))
        if bars > MOST_BARS:
            raise UsageError(
                f"about {bars:,} bars are too many: {MOST_BARS:,} at most; ask for fewer symbols or days, or a longer"
                " timeframe"
            )


def _given(fields: Mapping[str, Any], name: str) -> Any:
    if fields.get(name) in (None, "", []):
        raise UsageError(f"{name} is needed")
    return fields[name]


def _some(given: Any, most: int) -> tuple[str, ...]:
    symbols = symbols_given(given)
    if len(symbols) > most:
        raise UsageError(f"{len(symbols):,} symbols are too many: {most} at most")
    return tuple(sorted(symbols))


def _words(given: Any, name: str) -> tuple[str, ...]:
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"{name} are {shown(given)}: a list of names is needed")
    return tuple(dict.fromkeys(words))


def _day(given: Any, name: str) -> str:
    """Return a day as ISO text; the application sends a day with or without a time."""
    try:
        return date.fromisoformat(str(given)[:10]).isoformat()
    except ValueError:
        raise UsageError(f"{name} is {shown(given)}: a day is needed, as 2025-11-28") from None


def _rules(given: Any) -> Rules:
    """Read the parameters. A missing or null parameter has its default; 0 means no stop or no target."""
    if given is None:
        return Rules()
    if not isinstance(given, Mapping):
        raise UsageError(f"parameters are {shown(given)}: an object is needed")
    if unknown := [name for name in given if name not in _PARAMETERS]:
        raise UsageError(f"there is no parameter {shown(unknown[0])}; there are: {', '.join(_PARAMETERS)}")
    values = {name: value for name, value in given.items() if value is not None}
    values |= {name: None for name in _MAY_BE_NONE if values.get(name) == 0}
    try:
        rules = msgspec.convert(values, Rules, strict=False)
    except msgspec.ValidationError as e:
        raise UsageError(f"parameters: {e}") from e
    rules.check()
    return rules
