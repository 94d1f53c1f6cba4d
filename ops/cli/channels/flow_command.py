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
from ..parts.options import CONTEXT, Number, server_options
from ..parts.setting import typed

_LOOK_EVERY_S = 0.2


@click.command(context_settings=CONTEXT, short_help="Print the checkpoints of a pattern, by its flow_id.")
@click.argument("flow_id", metavar="FLOW_ID", type=click.UUID)
@typed(
    "--follow-s",
    former="--follow",
    type=Number(0, 1e8),
    default=0.0,
    help="How long to wait for further checkpoints, and show them.",
)
@typed("--json", "as_json", is_flag=True, help="Print one JSON object; with --follow-s another after each change.")
@server_options
def flow(where: AbstractContextManager[Place], flow_id: UUID, follow_s: float, as_json: bool) -> None:
    """Print the detection of a pattern and each checkpoint from its publication to its delivery, with latencies.

    The bridge records PATTERN_PUBLISHED; the application records the other checkpoints. Times are UTC. Exit 1 if no
    checkpoint and no detection has this id.
    """
    stop = Stop()
    text = FlowText()
    with where as servers, open_postgres(servers, name="tickstock-flow") as connection:
        check_schema(connection)
        show = _print_json if as_json else text.show
        known = _watch(connection, flow_id, follow_s, stop, show)
    if known is None:
        raise SetupError(f"flow_id {flow_id} is unknown: no checkpoint and no detection has it")
    if not as_json:
        text.end(known)


def _watch(
    connection: Connection, flow_id: UUID, seconds: float, stop: Stop, show: Callable[[Flow], None]
) -> Flow | None:
    """Show a flow now and after each change, for some seconds. Return what was shown last; None if nothing was."""
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
