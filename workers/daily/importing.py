"""The steps of the import: a vendor's splits and whole days, then the missing bars of single symbols, weeks, months."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import structlog

from ...contracts.daily.day_bars import joined
from ...contracts.errors import TickStockError
from ...contracts.market_hours import Closures
from ...contracts.messages.message import Message
from ...contracts.runs import StepResult
from ...contracts.universe import EVERY_SYMBOL
from ...db.postgres import Connection
from ...db.schema.timescale import lock_missing_chunks
from ...db.sessions import always_open_symbols
from ...db.tables import daily_bars, run_steps
from ...db.tables.run_results import add_messages
from ...db.tables.splits import add_new_splits
from . import import_days
from .import_days import MAX_SINGLE_SYMBOLS, SPLITS, SPLITS_AHEAD, final_days
from .market_days import has_ended, start_of, whole_day
from .run_errors import source_failed, splits_refused
from .sources import NO_SOURCE, VENDOR_ERRORS, Answer, SymbolAnswers, ask_for_day, ask_for_symbols, order_of
from .step_work import StepWork, Write

log = structlog.get_logger()

NO_BARS = "no bars of that day"
_MAX_REFUSED = 1000  # refused rows of a day that are stored with their reasons


def prepare_import(connection: Connection, work: StepWork) -> Write:
    """Prepare a step of the import: a question to the vendor, or a batch of symbols."""
    if work.step.symbols:
        return _prepare_symbols(connection, work)
    return _prepare_splits(work) if work.step.key.timeframe == SPLITS else _prepare_day(work)


# -- questions for all symbols at once ---------------------------------------------------------------------------------


def _prepare_day(work: StepWork) -> Write:
    day = date.fromisoformat(work.step.key.timeframe)
    at = datetime.fromtimestamp(work.now_s, UTC)
    order = order_of(work.sources, is_recent=at.date() - day <= import_days.RECENT)
    answer = work.ask(lambda: ask_for_day(work.sources, order, day, work.run.symbols))

    def write(connection: Connection) -> StepResult:
        said = [_source_failed(error, source, str(day), work) for source, error in answer.errors.items()]
        if answer.bars is None or answer.source is None:
            add_messages(connection, said)
            return StepResult(0, 0, {}, {"error": answer.error if order else NO_SOURCE})
        final = final_days([day], datetime.fromtimestamp(work.now_s, UTC), work.closures)
        lock_missing_chunks(connection, [day])
        done = daily_bars.import_vendor_days(connection, answer.bars, answer.source, final)
        add_messages(connection, said)
        return StepResult(
            len(answer.bars.symbols), done.changed, {}, _detail(answer, done.revised, is_final=bool(final))
        )

    return write


def _detail(answer: Answer, revised: int, *, is_final: bool) -> Mapping[str, object]:
    bars = answer.bars
    refused = {one.symbol: one.why for one in bars.refused[:_MAX_REFUSED]} if bars else {}
    if refused:
        log.warning("bars of a day refused", source=answer.source, bars=len(refused))
    return {
        "source": answer.source,
        "rows": {answer.source: len(bars.symbols) if bars else 0},
        "revised": revised,
        "is_final": is_final,
        "refused": refused,
    }


def _source_failed(error: TickStockError, source: str, asked: str, work: StepWork) -> Message:
    log.warning("source failed", source=source, asked=asked, why=str(error))
    return source_failed(error, now_s=work.now_s, run_id=work.run_id, phase="import", source=source, asked=asked)


def _prepare_splits(work: StepWork) -> Write:
    reference = work.sources.reference
    if reference is None:
        return lambda _: StepResult(0, 0, {}, {"error": NO_SOURCE})
    first, last = work.sessions[0].day, work.sessions[-1].day + SPLITS_AHEAD
    try:
        answer = work.ask(lambda: reference.splits(first, last))
    except VENDOR_ERRORS as e:
        failure = e
        said = [_source_failed(failure, "splits", f"{first} to {last}", work)]

        def fail(connection: Connection) -> StepResult:
            add_messages(connection, said)
            return StepResult(0, 0, {}, {"error": str(failure)})

        return fail

    def write(connection: Connection) -> StepResult:
        added, contradicted = add_new_splits(connection, answer.splits)
        refused = [*answer.refused, *contradicted]
        said = [splits_refused(sentence, now_s=work.now_s, run_id=work.run_id) for sentence in refused]
        add_messages(connection, said)
        return StepResult(len(answer.splits), added, {}, {"splits": added, "refused": refused})

    return write


# -- batches of symbols ------------------------------------------------------------------------------------------------


def _prepare_symbols(connection: Connection, work: StepWork) -> Write:
    always_open = always_open_symbols(connection)
    symbols, days = work.step.symbols, [session.day for session in work.sessions]
    answers = run_steps.answers_of(connection, work.step.key.run_id, "import")
    holes = _holes(connection, work, answers)
    source = work.sources.days.get("aggregates")
    single = work.ask(lambda: ask_for_symbols(source, holes)) if source and holes else SymbolAnswers()
    bars, failed = joined(single.bars), single.failed
    said = [_source_failed(single.error, "aggregates", f"{len(failed)} symbols", work)] if single.error else []
    at = datetime.fromtimestamp(work.now_s, UTC)
    final = final_days(days, at, work.closures)

    def write(connection: Connection) -> StepResult:
        lock_missing_chunks(connection, days)
        changed, _ = daily_bars.import_vendor_days(connection, bars, "aggregates", final)
        wanted = [
            (symbol, *(whole_day(session) if {symbol, EVERY_SYMBOL} & always_open else session))
            for symbol in symbols
            for session in work.sessions
        ]
        changed += daily_bars.import_own_days(connection, wanted)
        weeks, months = (_ended(timeframe, days, at, work.closures) for timeframe in ("weekly", "monthly"))
        changed += daily_bars.make_weeks_and_months(connection, symbols, weeks=weeks, months=months)
        there = daily_bars.count_days(connection, symbols, days)
        # Each once: years of days without an answer have one reason.
        why = "; ".join(dict.fromkeys(answer["error"] for answer in answers.values() if "error" in answer))
        missing = {symbol: failed.get(symbol) or _no_bars(why) for symbol in symbols if symbol not in there}
        refused = {one.symbol: one.why for one in bars.refused}
        given = daily_bars.days_by_source(connection, symbols, days)
        rows = {name: count for name, count in given.items() if name in ("own", "aggregates")}
        add_messages(connection, said)
        detail = {"rows": rows, "refused": refused, "not_had": dict(failed)}
        return StepResult(sum(there.values()), changed, missing, detail)

    return write


def _ended(timeframe: str, days: Sequence[date], at: datetime, closures: Closures) -> dict[date, bool]:
    """Return the weeks or months of some days, by first day, and whether each has ended."""
    starts = sorted({start_of(timeframe, day) for day in days})
    return {start: has_ended(timeframe, start, at, closures) for start in starts}


def _no_bars(why: str) -> str:
    return f"{NO_BARS}: {why}" if why else NO_BARS


def _holes(
    connection: Connection, work: StepWork, answers: Mapping[str, Mapping[str, object]]
) -> dict[str, list[date]]:
    """Return the days to ask for, for each symbol that needs a request of its own.

    If a day was asked for with all symbols: the symbols whose rows were refused; or, if that question failed and the
    run is small, every symbol. If no whole days were asked for: each symbol's days without a final bar.
    """
    if "aggregates" not in work.sources.days:
        return {}
    asked = {day: answer for day, answer in answers.items() if day != SPLITS}
    days = [session.day for session in work.sessions]
    if not asked and not import_days.asks_by_symbol(days, len(work.run.symbols)):
        return {}
    holes: dict[str, list[date]] = {}
    for symbol, day in daily_bars.days_without_vendor(connection, work.step.symbols, days):
        if _is_hole(symbol, asked.get(str(day)), len(work.run.symbols)) or not asked:
            holes.setdefault(symbol, []).append(day)
    return holes


def _is_hole(symbol: str, answer: Mapping[str, object] | None, symbols: int) -> bool:
    if answer is None:
        return False
    if "error" in answer:
        return symbols <= MAX_SINGLE_SYMBOLS
    refused = answer.get("refused")
    return isinstance(refused, Mapping) and symbol in refused
