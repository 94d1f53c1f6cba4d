"""The steps of a backtest: each finds the signals of some symbols; the last one trades the signals of all symbols.

A step stores its signals and bars as a row, so that the last step does not read bars that have changed since.
"""

from collections.abc import Callable

import msgspec

from ....contracts.errors import NothingFound
from ....contracts.runs import Step, StepResult
from ....contracts.timeframe import LONGER
from ....db.postgres import Connection
from ....db.tables.backtests import add_part, drop_parts, parts_of
from ....db.tables.jobs import request_of_job
from ....db.tables.runs import PinnedRun
from ...daily.step_work import Write
from ..backtest import PinnedPattern, find, load_symbols, report_on
from ..report import Request
from .kept_report import keep_report
from .part import pack, unpack

SIGNALS, TRADES = "signals", "trades"
PHASES = (SIGNALS, TRADES)
_DAYS_AT_ONCE = 5  # symbols in a step on daily bars: some 100 ms; a year of 1-minute bars takes seconds


def prepare_signals(connection: Connection, run: PinnedRun, step: Step, go_on: Callable[[], None]) -> Write:
    """Find the signals of the step's symbols. go_on: called often; it raises StepUnwanted to end the step."""
    request = read_request(connection, step)
    patterns = [one.definition for one in msgspec.convert(run.definitions, list[PinnedPattern])]
    found = find(load_symbols(connection, request, step.symbols), request, patterns, go_on)

    def write(connection: Connection) -> StepResult:
        add_part(connection, step.key.run_id, step.key.batch, pack(found))
        return StepResult(len(found.signals), len(found.market.time), {})

    return write


def prepare_trades(connection: Connection, _: PinnedRun, step: Step, go_on: Callable[[], None]) -> Write:
    """Trade the signals of all symbols."""
    run_id, request = step.key.run_id, read_request(connection, step)
    parts = (unpack(part) for part in parts_of(connection, run_id, go_on))
    try:
        report = report_on(request, parts)
    except NothingFound as e:
        nothing = StepResult(0, 0, {}, {"error": str(e)})
        return lambda _: nothing
    go_on()

    def write(connection: Connection) -> StepResult:
        drop_parts(connection, run_id)
        keep_report(connection, run_id, report)
        return StepResult(len(report.trade_list), len(report.trade_list), {})

    return write


def batches_of(request: Request) -> list[list[str]]:
    """Return the symbols of each step."""
    symbols, size = sorted(set(request.symbols)), _DAYS_AT_ONCE if request.timeframe in LONGER else 1
    return [symbols[first : first + size] for first in range(0, len(symbols), size)]


def read_request(connection: Connection, step: Step) -> Request:
    """Return the request of the run that a step belongs to."""
    return msgspec.convert(request_of_job(connection, step.key.run_id), Request)
