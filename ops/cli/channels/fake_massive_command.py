"""`tickstock fake-massive`: a pretend Massive server."""

import json
import math
import time
from datetime import datetime
from pathlib import Path

import click

from ....contracts.market_hours import NEW_YORK
from ....producer.synthetic import SCENARIOS, Market, Trouble
from ...process.shutdown import Stop
from ..parts.market_options import SpeedType, share
from ..parts.options import CONTEXT, Number, content_of, errors_end_the_command, option, stop_with_stdin_option


@click.command("fake-massive", context_settings=CONTEXT, short_help="Serve a pretend market data vendor.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Port on 127.0.0.1; 0: a free one.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the only API key that is let in.  [default: any key]",
)
@click.option("--seconds", type=Number(0.001), help="How long it runs.  [default: until it is stopped]")
@click.option(
    "--misbehave",
    "plans",
    multiple=True,
    metavar="WHAT[@AT][+FOR]",
    help="Go wrong: auth_failed, max_connections, stall, slow, cut, garbage, 429, 5xx, next_url_loop, "
    "next_url_elsewhere, empty, html, truncated, duplicates; @AT: so many seconds after the start, +FOR: for so many "
    "seconds. May be repeated.",
)
@click.option("--history-s", type=Number(0, 86_400), default=0.0, help="Market time that REST has at the start.")
@click.option("--speed", type=SpeedType(), default="1x", help="Recorded: multiple of market time, such as 60x.")
@option("--symbols", type=click.IntRange(1, 20_000), default=70, help="Synthetic: how many symbols.")
@option("--rate", type=Number(0.001), default=500.0, help="Synthetic: trades a second, over 6.5 h.")
@option("--seed", type=click.IntRange(0), default=1, help="Synthetic: the same seed gives the same trades.")
@option("--scenario", type=click.Choice(list(SCENARIOS)), default="normal", help="Synthetic: the market's character.")
@option("--disorder-ms", type=Number(0), default=0.0, help="Synthetic: trades out of order by so much.")
@share("--late-share", "come 1 to 300 s late")
@stop_with_stdin_option
def fake_massive(
    files: tuple[Path, ...],
    port: int,
    key_file: Path | None,
    seconds: float | None,
    plans: tuple[str, ...],
    history_s: float,
    speed: float | str,
    symbols: int,
    rate: float,
    seed: int,
    scenario: str,
    disorder_ms: float,
    late_share: float,
    stop_with_stdin: bool,
) -> None:
    """Pretend to be Massive: its WebSocket and its REST on one port of this machine, for tests and demos.

    The first line says where, as JSON. Plays a synthetic market, live, or the trades of FILES (trade flat files) as if
    they happened now. Of a synthetic market it also knows whole days of any year, a split, and who is listed: all made
    up, and the same at each start. A running server goes wrong by GET /fake/misbehave?what=cut[&seconds=10][&times=2],
    and behaves again by GET /fake/behave; GET /fake/bars says which bars its trades make.
    """
    from ...fake_massive.misbehaviour import parse_plan  # noqa: PLC0415  # the server is slow to import
    from ...fake_massive.recorded_tape import RecordedTape  # noqa: PLC0415
    from ...fake_massive.reference import Reference, made_up_reference  # noqa: PLC0415
    from ...fake_massive.server import FakeMassive  # noqa: PLC0415
    from ...fake_massive.tape import SyntheticTape  # noqa: PLC0415

    stop = Stop(with_stdin=stop_with_stdin)
    with errors_end_the_command():
        if speed == "max":
            raise click.UsageError("--speed max: a live feed has a speed, as 60x")
        start_ns = time.time_ns() - round(history_s * 1e9)
        reference = Reference()
        if files:
            tape: RecordedTape | SyntheticTape = RecordedTape(files, start_ns=start_ns, speed=float(speed))
        else:
            trouble = Trouble(disorder_ms=disorder_ms, late_share=late_share)
            market = Market(
                start_ns=start_ns, symbols=symbols, rate=rate, seed=seed, scenario=scenario, trouble=trouble
            )
            tape = SyntheticTape(market)
            reference = made_up_reference(tape.source.symbols, datetime.now(NEW_YORK).date())
        key = content_of(key_file).decode().strip() if key_file else None
        wrong = [parse_plan(text) for text in plans]
        with FakeMassive(tape, reference=reference, key=key, port=port, plans=wrong) as server:
            click.echo(json.dumps({"websocket": server.websocket_url, "rest": server.rest_url}))
            end_s = math.inf if seconds is None else time.monotonic() + seconds
            while server.is_up and time.monotonic() < end_s and not stop.wait(min(0.2, end_s - time.monotonic())):
                pass
