"""`tickstock sample`."""

import time
from datetime import date, datetime
from pathlib import Path

import click

from ....contracts.market_hours import hours_if_open
from ....producer.arrow import need_arrow
from ....producer.synthetic import BLOCK_S, MAX_SYMBOLS, SCENARIOS, Market, SyntheticSource
from ..parts.options import CONTEXT, Number, OutputFile, errors_end_the_command
from ..parts.setting import typed, typed_setting

_MINUTE_NS = 60 * 10**9


class DayType(click.ParamType[date]):
    """A day: 2025-06-02."""

    name = "DAY"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").date()  # noqa: DTZ007  # a day has no zone
        except ValueError:
            self.fail(f"{value!r} is not a day such as 2025-06-02", param, ctx)


@click.command(context_settings=CONTEXT, short_help="Write a day of the synthetic market as a flat file.")
@click.argument("file", type=OutputFile())
@typed_setting(Market, "symbols", type=click.IntRange(1, MAX_SYMBOLS), help="Number of symbols.")
@typed("--rate", type=Number(0.001, 100_000), default=20.0, help="Mean number of ticks per second of market time.")
@typed("--seconds", type=Number(1, BLOCK_S), default=float(BLOCK_S), help="Seconds of the day to write, from 09:30 on.")
@typed("--day", type=DayType(), default="2025-06-02", help="The day (New York).")
@typed_setting(Market, "scenario", type=click.Choice(list(SCENARIOS)), help="How prices move.")
@typed_setting(Market, "seed", type=click.IntRange(0), help="The same options and seed give the same file.")
def sample(file: Path, symbols: int, rate: float, seconds: float, day: date, scenario: str, seed: int) -> None:
    """Write the trades of a synthetic day into FILE, for `tickstock replay`: sample.csv, or the smaller sample.csv.gz.

    FILE has the columns of the vendor's flat files. Needs no server. With the default rate a day has some 470,000
    trades: 40 MB, or 8 MB as .csv.gz.
    """
    start_ns = int(hours_if_open(day).opens.timestamp()) * 10**9
    market = Market(seed=seed, symbols=symbols, rate=rate, scenario=scenario, start_ns=start_ns, chunk_ns=_MINUTE_NS)
    with errors_end_the_command():
        need_arrow()
        from ...jobs.sample_file import write_sample  # noqa: PLC0415  # arrow.py

        try:
            began_s = time.monotonic()
            written = write_sample(SyntheticSource(market, seconds=seconds), file)
        except OSError as e:
            raise click.ClickException(f"{file}: {e.strerror}") from e
    click.echo(
        f"{written.trades:,} trades of {written.symbols:,} symbols, {written.bytes / 1e6:,.1f} MB, "
        f"in {time.monotonic() - began_s:.1f} s: {file}"
    )
    click.echo(f"now: tickstock replay {click.format_filename(file)}")
