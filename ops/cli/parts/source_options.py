"""The options of `tickstock-jobs` for the sources of daily bars."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ...wiring.day_sources import SourceOptions
from .fleet_settings import vendor_options
from .options import Number, api_key
from .setting import F, setting

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_OPTIONS: tuple[Callable[[F], F], ...] = (
    vendor_options,
    setting(
        SourceOptions,
        "data_delay_s",
        type=Number(0, 86_400),
        help="Delay of the vendor's data; 900 for a plan with delayed data.",
    ),
    setting(
        SourceOptions,
        "flat_days_dir",
        type=_FOLDER,
        help="Folder with the vendor's daily flat files: 2025-11-21.csv.gz, or the same in folders 2025/11.",
    ),
    setting(
        SourceOptions,
        "csv_dir",
        type=_FOLDER,
        show_default="none",
        help="Folder with the files of symbols that a data load may name.",
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
        data_delay_s: float,
        flat_days_dir: Path | None,
        csv_dir: Path | None,
        **others: Any,
    ) -> Any:
        key = api_key(api_key_file, needed=False)
        options = SourceOptions(key, rest_url, rest_per_minute, data_delay_s, flat_days_dir, csv_dir)
        return command(*args, source_options=options, **others)

    for add in reversed(_OPTIONS):
        wrapped = add(wrapped)
    return wrapped  # type: ignore[return-value]  # the decorated function has the options' signature
