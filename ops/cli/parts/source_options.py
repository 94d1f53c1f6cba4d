"""What `tickstock-jobs` takes for the sources of bars of days."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ....producer.massive.rest import REST_URL
from ...wiring.day_sources import SourceOptions
from .options import F, Number, api_key, option

_OPTIONS: tuple[Callable[[F], F], ...] = (
    option(
        "--api-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File with the vendor's API key.  [default: MASSIVE_API_KEY of the environment; without one no vendor]",
    ),
    option("--rest-url", default=REST_URL, help="Address of the vendor's REST."),
    option(
        "--rest-per-minute",
        type=Number(1, 60_000),
        default=3000.0,
        help="At most so many requests a minute, of this process; the smallest plan allows 5.",
    ),
    option(
        "--data-delay-s",
        "delay_s",
        type=Number(0, 86_400),
        default=0.0,
        help="Seconds that the plan's data is behind the market; 900 for a delayed one.",
    ),
    option(
        "--flat-days-dir",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder with the vendor's flat files of days: 2025-11-21.csv.gz, or in folders 2025/11.",
    ),
)


def source_options(command: F) -> F:
    """Add the options; the command gets `source_options`."""

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        api_key_file: Path | None,
        rest_url: str,
        rest_per_minute: float,
        delay_s: float,
        flat_days_dir: Path | None,
        **others: Any,
    ) -> Any:
        key = api_key(api_key_file, needed=False)
        options = SourceOptions(key, rest_url, rest_per_minute, delay_s, flat_days_dir)
        return command(*args, source_options=options, **others)

    for add in reversed(_OPTIONS):
        wrapped = add(wrapped)
    return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature
