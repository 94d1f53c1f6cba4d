"""What the calls share: connections, the last looks, and the results as they come."""

from dataclasses import dataclass

from ...db.pool import Pool
from .glance import Glance
from .processing_look import ProcessingLook


@dataclass(frozen=True, slots=True)
class Service:
    """One of a process; every call gets it."""

    database: Pool
    processing: ProcessingLook
    glance: Glance
