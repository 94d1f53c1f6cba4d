"""GET /api/dead-letters."""

from litestar import get

from ....contracts.printable import printable
from ...jobs.dead_letters import DeadLetter as Letter
from ...jobs.dead_letters import list_letters
from ..answers import DeadLetter, DeadLetters
from ..parameters import FewerLimit, Name
from ..refusals import refusals
from ..service import Shared

_MOST_CHARACTERS = 500


@get("/api/dead-letters", responses=refusals(400, 422, 503), tags=["data"], sync_to_thread=True)
def dead_letters(service: Shared, reason: Name = None, limit: FewerLimit = 50) -> DeadLetters:
    """List refused ticks. Their texts have escapes and are shortened: `tickstock dlq show` prints the whole text."""
    with service.database.connection() as connection:
        letters = list_letters(connection, reason=reason, limit=limit)
    return DeadLetters(dead_letters=[_shown(letter) for letter in letters])


def _shown(letter: Letter) -> DeadLetter:
    return DeadLetter(
        id=letter.id,
        created_at=letter.created_at,
        partition=letter.partition,
        producer=_cut(letter.producer),
        reason=_cut(letter.reason),
        detail=_cut(letter.detail),
        original=_cut(letter.original[: 4 * _MOST_CHARACTERS].decode(errors="backslashreplace")),
        original_bytes=len(letter.original),
    )


def _cut(text: str) -> str:
    return printable(text)[:_MOST_CHARACTERS]
