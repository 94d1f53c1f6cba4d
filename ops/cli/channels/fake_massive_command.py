"""`tickstock fake-massive`: a server that behaves as Massive, for tests and demos."""

import json
import math
import time
from datetime import datetime
from pathlib import Path

import click

from ....contracts.market_hours import NEW_YORK
from ....producer.synthetic import MAX_SYMBOLS, SCENARIOS, Market, Trouble
from ...process.shutdown import Stop
from ..parts.market_options import SpeedType, share
from ..parts.options import CONTEXT, Number, content_of, errors_end_the_command, stop_with_stdin_option
from ..parts.setting import typed, typed_setting


@click.command("fake-massive", context_settings=CONTEXT, short_help="Serve a pretend market data vendor.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@typed("--port", type=click.IntRange(0, 65_535), default=0, help="Port on 127.0.0.1; 0: a free one.")
@typed(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_default="any key",
    help="File with the only API key that is accepted.",
)
@typed("--seconds", type=Number(0.001), show_default="until it is stopped", help="How long to run.")
@typed(
    "--misbehave",
    "plans",
    multiple=True,
    metavar="WHAT[@AT][+FOR]",
    help="Make an error: auth_failed, max_connections, stall, slow, cut, garbage, 429, 5xx, next_url_loop, "
    "next_url_elsewhere, empty, html, truncated, duplicates. @AT: seconds after the start; +FOR: for how many seconds. "
    "Can be given more than once.",
)
@typed("--history-s", type=Number(0, 86_400), default=0.0, help="How much market time REST can return at the start.")
@typed("--speed", type=SpeedType(), default="1x", help="FILES: multiple of market time, such as 60x.")
@typed_setting(Market, "symbols", type=click.IntRange(1, MAX_SYMBOLS), help="Synthetic: number of symbols.")
@typed_setting(Market, "rate", type=Number(0.001), help="Synthetic: trades a second, the mean of a day of 6.5 h.")
@typed_setting(Market, "seed", type=click.IntRange(0), help="Synthetic: the same seed gives the same trades.")
@typed_setting(Market, "scenario", type=click.Choice(list(SCENARIOS)), help="Synthetic: how prices move.")
@typed_setting(
    Trouble,
    "disorder_ms",
    type=Number(0),
    help="Synthetic: largest difference between the time of a trade and its arrival.",
)
@share("late_share", "come 1 to 300 s late", make=typed_setting)
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
    """Behave as Massive: its WebSocket and its REST calls on one port of this machine, for tests and demos.

    The first line of output has the addresses, as JSON. The trades are those of a synthetic live market, or those of
    FILES (trade flat files) at the present time. A synthetic market also has whole days of any year, a split, and
    reference data: all made up, and the same at each start. GET /fake/misbehave?what=cut[&seconds=10][&times=2] makes
    an error begin, GET /fake/behave ends it, and GET /fake/bars returns the bars of all trades so far.
    """
    from ...fake_massive.misbehaviour import parse_plan  # noqa: PLC0415  # the server is slow to import
    from ...fake_massive.recorded_tape import RecordedTape  # noqa: PLC0415
    from ...fake_massive.reference import Reference, made_up_reference  # noqa: PLC0415
    from ...fake_massive.server import FakeMassive  # noqa: PLC0415
    from ...fake_massive.tape import SyntheticTape  # noqa: PLC0415

    stop = Stop(with_stdin=stop_with_stdin)
    with errors_end_the_command():
        if speed == "max":
            raise click.UsageError("--speed max: a live feed needs a speed such as 60x")
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
