"""Make the sources of daily bars and reference data: the vendor's REST API, and a folder of flat files."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ...contracts.daily.day_bars import DaySource
from ...contracts.runs import Source
from ...producer.flat_days import FlatDays
from ...producer.massive.days import MassiveDays
from ...producer.massive.reference import MassiveReference
from ...producer.massive.rest import REST_PER_MINUTE, REST_URL
from ...producer.rest_client import RestClient
from ...workers.daily.sources import Sources

_CAP_MINUTES = 2  # a run may spend the quota of this time on market capitalisations


class SourceOptions(NamedTuple):
    """The user's options for the sources. key: the API key, empty: none. data_delay_s: the delay of the plan's data.

    csv_dir: the folder with the files of symbols that a data load may name.
    """

    key: str = ""
    rest_url: str = REST_URL
    per_minute: float = REST_PER_MINUTE
    data_delay_s: float = 0.0
    flat_days_dir: Path | None = None
    csv_dir: Path | None = None

    def __repr__(self) -> str:
        return f"SourceOptions({self.rest_url})"  # without the key


NO_OPTIONS = SourceOptions()


def make_sources(
    options: SourceOptions, *, wait: Callable[[float], bool], refused_for: Callable[[float], object]
) -> Sources:
    """Make the sources. wait, refused_for: as for RestClient. Raises UsageError."""
    days: dict[Source, DaySource] = {}
    reference = None
    if options.key:
        client = RestClient(
            options.rest_url, options.key, per_minute=options.per_minute, wait=wait, refused_for=refused_for
        )
        vendor = MassiveDays(client)
        days |= {"grouped": vendor.grouped, "aggregates": vendor.aggregates}
        reference = MassiveReference(client)
    if options.flat_days_dir is not None:
        days["flat"] = FlatDays(options.flat_days_dir).read
    return Sources(
        days,
        reference,
        options.data_delay_s,
        market_caps=int(options.per_minute * _CAP_MINUTES),
        csv_dir=options.csv_dir,
    )
