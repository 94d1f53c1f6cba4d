"""`tickstock patterns measure`."""

from pathlib import Path

import click

from ....contracts.spellings.trade_conditions import TRADE_RULES
from ...process.logs import set_up_logs
from ...process.progress import now_and_then
from ..parts.options import CONTEXT, OutputFile, errors_end_the_command, trade_rules_option
from ..parts.pattern_options import pattern_names_option, timeframe_names


@click.command(context_settings=CONTEXT, short_help="Measure on files how often patterns are found, and what follows.")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@pattern_names_option("the patterns that are on by default")
@timeframe_names
@click.option(
    "--given",
    type=click.Choice(["regular", "all"]),
    default="regular",
    help="Which bars the detectors are given; counted are those of regular hours.",
)
@trade_rules_option
@click.option("--shuffles", type=click.IntRange(0, 1000), default=20, help="Of each kind; 0: none.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, help="Of the shuffles: the same seed gives the same figures."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for patterns.md and patterns.json, what was measured.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not tables.")
@click.option(
    "--compare",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A patterns.json of before: print the two side by side.",
)
@click.option(
    "--write-base-rates", "base_rates", type=OutputFile(), help="File for what goes with each detection as base_rate."
)
def measure(
    files: tuple[str, ...],
    names: tuple[str, ...] | None,
    timeframes: tuple[str, ...],
    given: str,
    trade_rules: TRADE_RULES | None,
    shuffles: int,
    seed: int,
    out: Path | None,
    as_json: bool,
    compare: Path | None,
    base_rates: Path | None,
) -> None:
    """Measure patterns on FILES: how often each is found and told, and what the price did then. No server is needed.

    FILES are trade flat files, or files of 1-minute or daily bars (.csv, .csv.gz, .parquet): those of `tickstock bars`,
    the vendor's aggregates, or any with symbol, timestamp or date, open, high, low, close and volume. The bars go
    through the workers' own detectors, with the default definitions.

    For each pattern, timeframe and direction, of regular hours: found and told, of 1,000 bars and a symbol-day; the
    same of the bars shuffled within a day and within half an hour (daily bars: a year, a quarter), which is what chance
    draws; the mean move in the pattern's direction after 5, 20 and 60 bars, in ATR, with a 95 % interval, beside that
    of all bars at the same times of the day; and hits: after how many the close lay half an ATR or more in the
    pattern's direction 20 bars later, and after how many of any bars it would. docs/patterns.md explains each.
    """
    with errors_end_the_command():
        set_up_logs(level="warning", as_json=False)
        from ...measure.command import Asked, run_measure  # noqa: PLC0415  # most commands never ask

        asked = Asked(files, names, timeframes, given, trade_rules, shuffles, seed)
        say = now_and_then(lambda line: click.echo(line, err=True))
        for text in run_measure(asked, say, out=out, as_json=as_json, compare=compare, base_rates=base_rates):
            click.echo(text, nl=False)
