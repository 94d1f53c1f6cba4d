"""The objects that all calls share: connections, the last readings, and the stream of results."""

from dataclasses import dataclass

from litestar.di import NamedDependency

from ...db.pool import Pool
from .glance import Glance
from .live.event_hub import EventHub
from .live.results_feed import ResultsFeed
from .processing_look import ProcessingLook


@dataclass(frozen=True, slots=True)
class Service:
    """A process has one; every call gets it."""

    database: Pool
    processing: ProcessingLook
    glance: Glance
    hub: EventHub
    feed: ResultsFeed


Shared = NamedDependency[Service]  # a call's parameter `service`
