"""The options of `tickstock-producer` for its live sources, `massive` and `channel`."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ....contracts.names import TICK_CHANNELS
from ....contracts.spellings.trade_conditions import DEFAULT_RULES, TRADE_RULES
from ....producer.massive.reader import SILENCE_S
from ...wiring.live_producer import DELAYED_MS, LiveOptions
from .fleet_settings import second_stamp_option, universe_option, vendor_options
from .options import Number, api_key
from .setting import F, setting

LIVE_SOURCES = ("massive", "channel")

_OPTIONS: tuple[Callable[[F], F], ...] = (
    setting(
        LiveOptions,
        "channel",
        type=click.Choice(list(SILENCE_S)),
        help="Massive: T trades, A aggregates of seconds, AM aggregates of minutes.",
    ),
    universe_option("every symbol"),
    setting(
        LiveOptions,
        "massive_url",
        help="Massive: address of the WebSocket. The feed with 15 minutes' delay: wss://delayed.massive.com/stocks.",
    ),
    vendor_options,
    setting(
        LiveOptions,
        "repair",
        "--repair/--no-repair",
        help="Live: fetch by REST what the feed missed. Else only record it, for `tickstock gaps repair`.",
    ),
    setting(
        LiveOptions,
        "feed_delay_s",
        former="--feed-delay",
        type=Number(0, 86_400),
        show_default=f"{DELAYED_MS // 1000} with the delayed host, else 0",
        help="Massive: how far the feed is behind the market.",
    ),
    setting(
        LiveOptions,
        "silence_s",
        former="--silence",
        type=Number(0.1),
        show_default=", ".join(f"{channel}: {silence_s:g}" for channel, silence_s in SILENCE_S.items()),
        help="Massive: reconnect after this time without a message.",
    ),
    setting(
        LiveOptions,
        "watch",
        type=click.Choice(["market", "always"]),
        help="Massive: when --silence-s applies: in market hours, or always. With always, no hour of a gap is cut out.",
    ),
    setting(LiveOptions, "family", type=click.Choice(TICK_CHANNELS), help="Channel: the Redis channel to listen on."),
    second_stamp_option,
)
_NAMES = (
    "channel", "universe", "massive_url", "rest_url", "rest_per_minute", "repair", "feed_delay_s", "silence_s", "watch",
    "family", "second_stamp",
)  # fmt: skip


def live_options(command: F) -> F:
    """Add the options; the command gets `live`, a LiveOptions, or None if its source is not a live one."""

    @functools.wraps(command)
    def wrapped(
        *args: Any, source: str, api_key_file: Path | None, trade_rules: TRADE_RULES | None, **others: Any
    ) -> Any:
        given = {name: others.pop(name) for name in _NAMES}
        live = None
        if source in LIVE_SOURCES:
            key = api_key(api_key_file, needed=source == "massive")
            live = LiveOptions(source=source, key=key, rules=trade_rules or DEFAULT_RULES, **given)  # type: ignore[arg-type]  # click has checked the choice
        return command(*args, source=source, trade_rules=trade_rules, live=live, **others)

    for add in reversed(_OPTIONS):
        wrapped = add(wrapped)
    return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature
