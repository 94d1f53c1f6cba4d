"""GET /api/symbols and /api/definitions: the symbols, patterns and indicators that other calls accept."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from ...db.tables.lists import ListedDefinition, every_definition, symbols_like
from .answers import Definition, Definitions, Symbol, Symbols
from .parameters import FewerLimit
from .refusals import refusals
from .service import Shared

Search = Annotated[
    str,
    QueryParameter(
        max_length=50, pattern=r"^[^\x00-\x1f\x7f]*$", description="The beginning of the symbol, or a part of its name."
    ),
]


@get("/api/symbols", responses=refusals(400, 422, 503), tags=["data"], sync_to_thread=True)
def symbols(service: Shared, search: Search = "", limit: FewerLimit = 20) -> Symbols:
    """Search the known symbols; upper and lower case are equal."""
    with service.database.connection() as connection:
        return Symbols(symbols=[Symbol(**one._asdict()) for one in symbols_like(connection, search, limit)])


@get("/api/definitions", responses=refusals(503), tags=["data"], sync_to_thread=True)
def definitions(service: Shared) -> Definitions:
    """List all patterns and indicators with their rules, enabled or not."""
    with service.database.connection() as connection:
        rows = every_definition(connection)
    return Definitions(patterns=_of_kind(rows, "pattern"), indicators=_of_kind(rows, "indicator"))


def _of_kind(rows: list[ListedDefinition], kind: str) -> list[Definition]:
    wanted = [row._asdict() for row in rows if row.kind == kind]
    return [Definition(**{name: value for name, value in row.items() if name != "kind"}) for row in wanted]
