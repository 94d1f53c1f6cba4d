"""`tickstock sample`."""

import time
from datetime import date, datetime
from pathlib import Path

import click

from ....contracts.market_hours import hours_if_open
from ....producer.synthetic import BLOCK_S, SCENARIOS, Market, SyntheticSource
from ...jobs.sample_file import write_sample
from ..parts.options import CONTEXT, Number, OutputFile, errors_end_the_command

_MINUTE_NS = 60 * 10**9


class DayType(click.ParamType[date]):
    """A day: 2025-06-02."""

    name = "DAY"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").date()  # noqa: DTZ007  # a day has no zone
        except ValueError:
            self.fail(f"{value!r} is no day such as 2025-06-02", param, ctx)


@click.command(context_settings=CONTEXT, short_help="Write a day of the synthetic market as a flat file.")
@click.argument("file", type=OutputFile())
@click.option("--symbols", type=click.IntRange(1, 20_000), default=70, help="How many symbols.")
@click.option("--rate", type=Number(0.001, 100_000), default=20.0, help="Ticks a second, the mean of the time written.")
@click.option("--seconds", type=Number(1, BLOCK_S), default=float(BLOCK_S), help="How much of the day, from 09:30 on.")
@click.option("--day", type=DayType(), default="2025-06-02", help="Which day (New York).")
@click.option("--scenario", type=click.Choice(list(SCENARIOS)), default="normal", help="The market's character.")
@click.option("--seed", type=click.IntRange(0), default=1, help="The same options and seed give the same file.")
def sample(file: Path, symbols: int, rate: float, seconds: float, day: date, scenario: str, seed: int) -> None:
    """Write the trades of one synthetic day as FILE, to be replayed: sample.csv, or sample.csv.gz for a small one.

    It has the columns of the vendor's flat files. No server is needed. A day of the default 20 ticks a second is some
    470,000 trades, 40 MB, or 8 MB as .csv.gz.
    """
    start_ns = int(hours_if_open(day).opens.timestamp()) * 10**9
    market = Market(seed=seed, symbols=symbols, rate=rate, scenario=scenario, start_ns=start_ns, chunk_ns=_MINUTE_NS)
    with errors_end_the_command():
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
