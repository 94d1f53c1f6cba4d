"""The work of `tickstock patterns measure`: files in, a report out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...contracts.errors import NothingFound, UsageError
from ...contracts.spellings.trade_conditions import TRADE_RULES
from ...contracts.timeframe import INTRADAY
from ...version import __version__
from ...workers.detect.definition import Definitions
from ...workers.detect.definitions import default_definitions, pattern_definition
from ...workers.detect.patterns.registry import PATTERNS
from ..process.whole_file import whole_file
from .aftermath import HIT_AFTER, HIT_ATR
from .bar_files import read_markets, regular
from .base_rate_file import write_base_rates
from .finding import TIMEFRAMES
from .measuring import Options, measure
from .report import Measured, MeasuredRow, Report, Rule, json_of, read_report, write_report
from .report_text import as_markdown, compared

EVERY = "all"
REPORT, TABLES = "patterns.json", "patterns.md"


class Asked(NamedTuple):
    """What to measure. names: None for the patterns that are enabled by default. timeframes: empty for all."""

    files: Sequence[str]
    names: Sequence[str] | None
    timeframes: Sequence[str]
    given: str
    trade_rules: TRADE_RULES | None
    shuffles: int
    seed: int


def run_measure(
    asked: Asked,
    say: Callable[[str], None],
    *,
    out: Path | None,
    as_json: bool,
    compare: Path | None,
    base_rates: Path | None,
) -> Iterator[str]:
    """Measure, write the requested files, and return the texts to print. say: receives the progress."""
    before = read_report(compare) if compare else None
    if out:
        out.mkdir(parents=True, exist_ok=True)
    report = report_on(asked, say)
    if out:
        write_report(report, out / REPORT)
        with whole_file(out / TABLES) as part:
            part.write_text(as_markdown(report))
    if base_rates:
        write_base_rates(report, base_rates)
    if as_json:
        yield json_of(report)
    elif before:
        yield compared(before, report)
    else:
        yield as_markdown(report)


def report_on(asked: Asked, say: Callable[[str], None]) -> Report:
    """Measure. Raises UsageError for an invalid file or name, NothingFound without bars."""
    definitions = definitions_of(asked.names)
    markets = read_markets(asked.files, asked.trade_rules)
    measured: dict[str, Measured] = {}
    rows: list[MeasuredRow] = []
    options = Options(asked.timeframes or TIMEFRAMES, asked.shuffles, asked.seed)
    for market in markets:
        its_measured, its_rows = measure(
            regular(market) if asked.given == "regular" else market, definitions, options, say
        )
        measured |= its_measured
        rows += its_rows
    if not measured:
        raise NothingFound("the files have no bars of regular hours on these timeframes")
    return Report(
        version=__version__,
        files=[Path(file).name for file in asked.files],
        given=asked.given,
        seed=asked.seed,
        shuffles=asked.shuffles,
        hit_after_bars=HIT_AFTER,
        hit_atr=HIT_ATR,
        rules={d.kind.name: Rule(threshold=d.threshold, parameters=d.parameters) for d in definitions.patterns},
        measured=measured,
        rows=rows,
    )


def definitions_of(names: Sequence[str] | None) -> Definitions:
    """Return the default definitions of some patterns. Raises UsageError for an unknown name."""
    if names is None:
        return Definitions(default_definitions().patterns)
    wanted = list(PATTERNS) if EVERY in names else list(names)
    if unknown := [name for name in wanted if name not in PATTERNS]:
        raise UsageError(f"there is no pattern {unknown[0]}; there are: {', '.join(PATTERNS)}")
    return Definitions([pattern_definition(name, None, list(INTRADAY), None) for name in wanted])
