"""Settings that several commands read: one object each, so that a variable means the same to all of them."""

from collections.abc import Callable
from pathlib import Path

import click

from ....contracts.names import LIVE_FEED
from ....contracts.spellings.tick_json import DEFAULT_SECOND_STAMP
from ....db.schema.migrate import DEFAULT_PARTITIONS
from ....producer.massive.rest import REST_PER_MINUTE, REST_URL
from .options import Number
from .setting import F, option

partitions_option = option(
    "--partitions",
    type=click.IntRange(1, 4096),
    help="Partition count of the stream: a new stream gets it, one that exists must have it."
    f"  [default: {DEFAULT_PARTITIONS} for a new stream]",
)
second_stamp_option = option(
    "--second-stamp",
    type=click.Choice(["end", "start"]),
    default=DEFAULT_SECOND_STAMP,
    help="Whether a timestamp on a whole second marks the start or the end of that second (ticks without a type).",
)
trade_rules_option = option(
    "--trade-rules",
    type=click.Choice(["sip", "all"]),
    show_default="sip where trades have conditions, else all",
    help="sip: the conditions of a trade decide which prices and volume of its bar it changes. all: each trade changes "
    "all of them.",
)
feed_option = option("--feed", default=LIVE_FEED, help="Name of the live feed. Two feeds never write the same bar.")


def universe_option(default: str) -> Callable[[F], F]:
    """Make a decorator that adds --universe. default: what the command takes without it, in words."""
    return option(
        "--universe",
        also=["SYMBOL_UNIVERSE_KEY"],
        show_default=default,
        help="Symbols of the live feed: NAME:KEY of cache_entries, @FILE, or a list. A change takes 30 s.",
    )


def vendor_options(command: F) -> F:
    """Add --rest-url, --rest-per-minute and --api-key-file: how to ask the vendor for bars."""
    for add in reversed(_VENDOR):
        command = add(command)
    return command


_VENDOR: tuple[Callable[[F], F], ...] = (
    option("--rest-url", default=REST_URL, help="Address of the vendor's REST API."),
    option(
        "--rest-per-minute",
        type=Number(1, 60_000),
        default=REST_PER_MINUTE,
        help="Most REST requests of this process in a minute.",
    ),
    option(
        "--api-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        show_default="MASSIVE_API_KEY of the environment",
        help="File with the vendor's API key.",
    ),
)
