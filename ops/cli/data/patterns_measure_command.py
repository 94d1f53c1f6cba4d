"""`tickstock patterns measure`."""

from pathlib import Path

import click

from ....contracts.spellings.trade_conditions import TRADE_RULES
from ...process.logs import set_up_logs
from ...process.progress import now_and_then
from ..parts.fleet_settings import trade_rules_option
from ..parts.options import CONTEXT, OutputFile, errors_end_the_command
from ..parts.pattern_options import pattern_names_option, timeframe_names
from ..parts.setting import typed


@click.command(context_settings=CONTEXT, short_help="Measure how often patterns are found in files, and what follows.")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@pattern_names_option("the patterns that are on by default")
@timeframe_names
@typed(
    "--given",
    type=click.Choice(["regular", "all"]),
    default="regular",
    help="Bars that the detectors get. Only detections in regular hours are counted.",
)
@trade_rules_option
@typed("--shuffles", type=click.IntRange(0, 1000), default=20, help="Number of shuffles of each kind; 0: none.")
@typed("--seed", type=click.IntRange(0), default=1, help="Seed of the shuffles: the same seed gives the same figures.")
@typed(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results: patterns.md and patterns.json.",
)
@typed("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@typed(
    "--compare",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An earlier patterns.json: print both results side by side.",
)
@typed(
    "--write-base-rates",
    "base_rates",
    type=OutputFile(),
    help="File for the base rates, which go into each detection as base_rate.",
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
    """Measure patterns on FILES: how often each is found and published, and how the price moved then. Needs no server.

    FILES are trade flat files, or files of 1-minute or daily bars (.csv, .csv.gz, .parquet): those of `tickstock bars`,
    aggregates of the vendor, or any file with symbol, timestamp or date, open, high, low, close and volume. The bars go
    through the detectors of the workers, with the default definitions.

    The results, for each pattern, timeframe and direction in regular hours: how many are found and how many are
    published, in 1,000 bars and in a symbol-day; the same for shuffled bars, which shows what chance gives (shuffled
    within a day and within half an hour; daily bars within a year and a quarter); the mean move in the direction of the
    pattern after 5, 20 and 60 bars, in ATR, with a 95 % interval, and the mean move of all bars at the same times of
    the day; and hits: the share of patterns after which the close is half an ATR or more in the direction of the
    pattern 20 bars later, and the same share of all bars. docs/patterns.md explains each.
    """
    with errors_end_the_command():
        set_up_logs(level="warning", as_json=False)
        from ...measure.command import Asked, run_measure  # noqa: PLC0415  # slow to import, and only this command needs it

        asked = Asked(files, names, timeframes, given, trade_rules, shuffles, seed)
        say = now_and_then(lambda line: click.echo(line, err=True))
        for text in run_measure(asked, say, out=out, as_json=as_json, compare=compare, base_rates=base_rates):
            click.echo(text, nl=False)
