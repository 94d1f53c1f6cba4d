"""Read the application's messages: a data load on `tickstock.jobs.data_load`, a cancel on `tickstock.jobs.control`.

All spellings that the application is known to send are read: several words for a timeframe, numbers as text, one symbol
instead of a list, no timestamp. Pure.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from ..errors import UsageError
from ..timeframe import LONGER
from .job import LONGEST_TEXT, fields_of, job_id_of, name_of, shown, symbols_given

JobType = Literal["historical_load", "csv_universe_load", "multi_timeframe_load", "universe_seed"]
JOB_TYPES: tuple[JobType, ...] = get_args(JobType)
CANCEL = "cancel"

SESSIONS_A_YEAR = 252
_LONGEST_YEARS = 30.0
MOST_SYMBOLS = 20_000  # of one load; the whole market has about 12,000
_TIMEFRAMES = {
    **dict.fromkeys(("minute", "1minute", "1min", "min"), "1min"),
    **dict.fromkeys(("hour", "1hour", "hourly", "1h"), "hourly"),
    **dict.fromkeys(("day", "1day", "daily", "1d"), "daily"),
    **dict.fromkeys(("week", "1week", "weekly", "1w"), "weekly"),
    **dict.fromkeys(("month", "1month", "monthly", "1mo"), "monthly"),
}


class LoadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request of a data load.

    symbols: None: take those of csv_file, or of the universes. timeframes: hourly, daily, …; years: the history up to
    today. name: store the symbols as a universe of this name. with_analysis: also compute indicators and patterns.
    """

    job_type: JobType
    symbols: tuple[str, ...] | None = None
    csv_file: str | None = None
    universes: tuple[str, ...] = ()
    name: str | None = None
    timeframes: tuple[str, ...] = ("daily",)
    years: float = 1.0
    with_analysis: bool = False

    @property
    def sessions(self) -> int:
        """Return the number of trading days of the years."""
        return max(1, math.ceil(self.years * SESSIONS_A_YEAR))

    @property
    def makes_bars(self) -> bool:
        """Tell whether the load asks for daily, weekly or monthly bars; only those are made by an import."""
        return bool(set(self.timeframes) & set(LONGER))


class Asked(NamedTuple):
    """A message that asks for a data load. why: why it cannot be done; request is None then."""

    job_id: str
    requested_by: str
    request: LoadRequest | None
    why: str | None = None


def read_load(body: bytes) -> Asked:
    """Read a message. Raises UsageError if it does not name its job; the answer's `why` gives any other fault."""
    fields = fields_of(body)
    job_id, by = job_id_of(fields), name_of(fields.get("requested_by"))
    try:
        return Asked(job_id, by, _request(fields))
    except UsageError as e:
        return Asked(job_id, by, None, str(e))


def read_cancel(body: bytes) -> str:
    """Return the id of the job that a message on the control channel cancels. Raises UsageError."""
    fields = fields_of(body)
    action = fields.get("action")
    if action != CANCEL:
        raise UsageError(f"there is no action {shown(action)}; there is: {CANCEL}")
    return job_id_of(fields)


def _request(fields: Mapping[str, Any]) -> LoadRequest:
    kind = fields.get("job_type")
    if kind not in JOB_TYPES:
        raise UsageError(f"there is no job_type {shown(kind)}; there are: {', '.join(JOB_TYPES)}")
    symbols, csv_file, universes = _symbols(fields), _text(fields, "csv_file"), _universes(fields)
    is_listed = symbols is not None or csv_file is not None
    if not is_listed and not universes:
        raise UsageError("symbols, csv_file or universe_type is needed")
    is_csv = kind == "csv_universe_load"
    return LoadRequest(
        job_type=kind,
        symbols=symbols,
        csv_file=None if symbols is not None else csv_file,
        universes=() if is_listed else universes,
        name=_text(fields, "universe_type") if is_csv and is_listed else None,
        timeframes=() if is_csv and not _flag(fields, "include_ohlcv", default=True) else _timeframes(fields),
        years=_years(fields.get("years")),
        with_analysis=_flag(fields, "run_analysis_after_import", default=False),
    )


def _symbols(fields: Mapping[str, Any]) -> tuple[str, ...] | None:
    symbols = fields.get("symbols")
    return None if symbols is None or symbols in ([], "") else symbols_given(symbols)


def _universes(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of universes.

    Newer versions of the application send several names in one text, with colons between them.
    """
    named = _text(fields, "universe_key") or _text(fields, "universe_type")
    return () if named is None else (named,)


def _timeframes(fields: Mapping[str, Any]) -> tuple[str, ...]:
    given = fields.get("timeframes") or fields.get("timeframe") or fields.get("timespan") or "day"
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"timeframes are {shown(given)}: a list of words is needed")
    unknown = [word for word in words if word.strip().lower() not in _TIMEFRAMES]
    if unknown:
        raise UsageError(f"there is no timeframe {shown(unknown[0])}; there are: minute, hour, day, week, month")
    return tuple(dict.fromkeys(_TIMEFRAMES[word.strip().lower()] for word in words))


def _years(given: Any) -> float:
    try:
        years = 1.0 if given is None or isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        years = math.nan
    if not 0 < years <= _LONGEST_YEARS:
        raise UsageError(f"years are {shown(given)}: a number up to {_LONGEST_YEARS:g} is needed")
    return years


def _flag(fields: Mapping[str, Any], name: str, *, default: bool) -> bool:
    given = fields.get(name)
    if isinstance(given, str):
        return given.strip().lower() in ("true", "1", "yes", "on")
    return default if given is None else bool(given)


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    given = fields.get(name)
    if given is None or given == "":
        return None
    if not isinstance(given, str | int) or not str(given).isprintable() or len(str(given)) > LONGEST_TEXT:
        raise UsageError(f"{name} is {shown(given)}: a text of at most {LONGEST_TEXT} characters is needed")
    return str(given)
