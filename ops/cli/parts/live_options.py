"""What `tickstock-producer` takes for its live sources, `massive` and `channel`."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ....contracts.names import TICK_CHANNELS
from ....contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ....producer.massive.rest import REST_URL
from ...wiring.live_producer import MASSIVE_URL, LiveOptions
from .options import F, Number, api_key, option

LIVE_SOURCES = ("massive", "channel")

_OPTIONS: tuple[Callable[[F], F], ...] = (
    option("--channel", type=click.Choice(["T", "A", "AM"]), default="T", help="Massive: trades, seconds or minutes."),
    option(
        "--universe",
        envvar=["TICKSTOCK_UNIVERSE", "SYMBOL_UNIVERSE_KEY"],
        help="Live: the symbols, as NAME:KEY of cache_entries, @FILE, or a list; a change takes effect within 30 s."
        "  [default: every symbol]",
    ),
    option(
        "--api-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Massive: file with the API key.  [default: MASSIVE_API_KEY of the environment]",
    ),
    option(
        "--massive-url",
        default=MASSIVE_URL,
        help="Massive: the WebSocket; with 15 minutes' delay wss://delayed.massive.com/stocks.",
    ),
    option("--rest-url", default=REST_URL, help="Live: the vendor's REST, for repairs."),
    option(
        "--rest-per-minute",
        type=Number(1, 60_000),
        default=3000.0,
        help="Live: at most so many REST requests a minute.",
    ),
    option(
        "--repair/--no-repair",
        default=True,
        help="Live: fetch what the feed missed by REST; else it is only noted, for `tickstock gaps repair`.",
    ),
    option(
        "--feed-delay",
        "delay_s",
        type=Number(0, 86_400),
        help="Massive: seconds that the feed runs behind the market.  [default: 900 with the delayed host, else 0]",
    ),
    option(
        "--silence",
        "silence_s",
        type=Number(0.1),
        help="Massive: reconnect after so many seconds without a message.  [default: 30, AM: 150]",
    ),
    option(
        "--watch",
        type=click.Choice(["market", "always"]),
        default="market",
        help="Massive: whether silence counts in market hours only.",
    ),
    option(
        "--family", type=click.Choice(TICK_CHANNELS), default=TICK_CHANNELS[0], help="Channel: which of them to hear."
    ),
    option(
        "--second-stamp",
        type=click.Choice(["end", "start"]),
        default="end",
        help="Channel: whether a time on a whole second is the start or the end of that second (ticks without a type).",
    ),
)
_NAMES = (
    "channel", "universe", "massive_url", "rest_url", "rest_per_minute", "repair", "delay_s", "silence_s", "watch",
    "family", "second_stamp",
)  # fmt: skip


def live_options(command: F) -> F:
    """Add the options; the command gets `live`, None where its source is no live one."""

    @functools.wraps(command)
    def wrapped(
        *args: Any, source: str, api_key_file: Path | None, trade_rules: TRADE_RULES | None, **others: Any
    ) -> Any:
        said = {name: others.pop(name) for name in _NAMES}
        live = None
        if source in LIVE_SOURCES:
            key = api_key(api_key_file, needed=source == "massive")
            live = LiveOptions(source=source, key=key, rules=trade_rules or DEFAULT_RULES, **said)  # type: ignore[arg-type]  # click has checked the choice
        return command(*args, source=source, trade_rules=trade_rules, live=live, **others)

    for add in reversed(_OPTIONS):
        wrapped = add(wrapped)
    return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature
