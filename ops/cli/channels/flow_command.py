"""`tickstock flow FLOW_ID`."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

import click
import msgspec

from ....contracts.errors import SetupError
from ....db.postgres import Connection
from ....db.schema.migrate import check_schema
from ...process.shutdown import Stop
from ...status.flow import Flow, FlowText, read_flow
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, Number, option, server_options

_LOOK_EVERY_S = 0.2


@click.command(context_settings=CONTEXT, short_help="Print a pattern's way, by its flow_id.")
@click.argument("flow_id", metavar="FLOW_ID", type=click.UUID)
@option("--follow", metavar="SECONDS", type=Number(0, 1e8), default=0.0, help="Show what is logged meanwhile, too.")
@option("--json", "as_json", is_flag=True, help="Print one JSON object; with --follow, another after each change.")
@server_options
def flow(where: AbstractContextManager[Place], flow_id: UUID, follow: float, as_json: bool) -> None:
    """Print every checkpoint of a pattern's way, with its latencies, and the detection that it began with.

    Ours is PATTERN_PUBLISHED; the application adds its own. Times are UTC. Exit 1 if nothing is known under this id.
    """
    stop = Stop()
    text = FlowText()
    with where as servers, open_postgres(servers, name="tickstock-flow") as connection:
        check_schema(connection)
        show = _print_json if as_json else text.show
        known = _watch(connection, flow_id, follow, stop, show)
    if known is None:
        raise SetupError(f"nothing is known under flow_id {flow_id}: no checkpoint is logged, and no detection has it")
    if not as_json:
        text.end(known)


def _watch(
    connection: Connection, flow_id: UUID, seconds: float, stop: Stop, show: Callable[[Flow], None]
) -> Flow | None:
    """Show a flow, and again whenever it changed, until the time is over; return what was shown last."""
    end_s = time.monotonic() + seconds
    shown: Flow | None = None
    while True:
        now = read_flow(connection, flow_id)
        if now is not None and now != shown:
            shown = now
            show(now)
        if time.monotonic() >= end_s or stop.wait(min(_LOOK_EVERY_S, max(0.0, end_s - time.monotonic()))):
            return shown


def _print_json(flow: Flow) -> None:
    click.echo(msgspec.json.encode(flow).decode())
