"""GET /events: the results as they are published, as server-sent events."""

import time
from collections.abc import AsyncIterator
from typing import Annotated

from litestar import get
from litestar.concurrency import sync_to_thread
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from ....contracts.errors import ServerAway
from ....db.pool import Pool
from ....db.tables.results import results_after
from ..parameters import OneSymbol
from ..refusals import refusals
from ..service import Service, Shared
from .blocks import HEADERS, MEDIA_TYPE, chunks_of, hello, reset, sign_of_life
from .event_hub import Event, read_id
from .wanted import KINDS, Wanted, wanted_of

_SIGN_EVERY_S = 15.0  # between two comments, which make proxies keep the connection open
_RETRY_MS = 2000
_SLACK_S = 30.0  # events of two partitions may arrive in another order than their commits
_MOST_MISSED = 5000

LastId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", max_length=40, description="Continue after this event.")
]
Kinds = Annotated[
    str | None,
    QueryParameter(
        name="kinds", max_length=100, description=f"Only these kinds, separated by commas: {', '.join(KINDS)}."
    ),
]


@get("/events", responses=refusals(400, 422, 503), tags=["live"])
async def events(service: Shared, last_id: LastId = None, kinds: Kinds = None, symbol: OneSymbol = None) -> Stream:
    """Receive the results live: bars, patterns, indicators, alerts, messages of runs.

    An event's id is the result's id. No event after Last-Event-ID is left out, but some may come twice if another
    process answers. The event `reset`: events after Last-Event-ID are not stored any more, so read the lists again.
    """
    wanted = wanted_of(kinds, symbol)
    after = read_id(last_id) if last_id else None
    service.hub.check_room()
    return Stream(_heard(service, wanted, after), media_type=MEDIA_TYPE, headers=HEADERS)


async def _heard(service: Service, wanted: Wanted, after: tuple[int, int] | None) -> AsyncIterator[bytes]:
    client, is_remembered = service.hub.join(after)
    try:
        yield hello(_RETRY_MS)
        if after is not None and not is_remembered:
            missed = await sync_to_thread(_missed, service.database, after)
            if missed is None:
                yield reset()
            client.put_first(missed or [])
        said_s, last = time.monotonic(), None
        while (news := await client.next(_SIGN_EVERY_S)) is not None:
            for chunk in chunks_of(news, wanted):
                yield chunk
                said_s = time.monotonic()
            last = news[-1].id if news else last
            if time.monotonic() - said_s >= _SIGN_EVERY_S:
                yield sign_of_life(last)
                said_s = time.monotonic()
    except ServerAway:
        return  # the client connects again by itself, with the same Last-Event-ID
    finally:
        service.hub.leave(client)


def _missed(database: Pool, after: tuple[int, int]) -> list[Event] | None:
    """Read the events after one; None if that one, or a later one, is not stored any more."""
    with database.connection() as connection:
        rows = results_after(connection, *after, slack_s=_SLACK_S, most=_MOST_MISSED)
    return None if rows is None else [Event(row.partition, row.number, row.kind, row.body) for row in rows]
