"""Read the messages about jobs: each is a JSON object that names its job. Pure."""

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..printable import printable
from ..spellings.json_text import NotJson, read_json
from ..universe import symbols_of_text, symbols_of_value

LONGEST_TEXT = 200


def is_probe(body: bytes) -> bool:
    """Tell whether the application sent a message only to test its connection: such a message gets no answer."""
    try:
        fields = read_json(body)
    except NotJson:
        return False
    return isinstance(fields, dict) and "test" in fields and "job_id" not in fields


def fields_of(body: bytes) -> Mapping[str, Any]:
    """Read a message. Raises UsageError if it is not a JSON object."""
    try:
        fields = read_json(body)
    except NotJson as e:
        raise UsageError(f"no JSON: {e}") from e
    if not isinstance(fields, dict):
        raise UsageError("a JSON object is needed")
    return fields


def job_id_of(fields: Mapping[str, Any]) -> str:
    """Return the id that the sender gave to the job. Raises UsageError if the id is not one word."""
    job_id = fields.get("job_id")
    if not isinstance(job_id, str) or not job_id.isprintable() or len(job_id.split()) != 1:
        raise UsageError(f"job_id is {shown(job_id)}: one word is needed")
    if len(job_id) > LONGEST_TEXT:
        raise UsageError(f"job_id is longer than {LONGEST_TEXT} characters")
    return job_id.strip()


def name_of(sender: Any) -> str:
    """Return the name of the sender, as text that can be shown and stored."""
    return printable(str(sender or ""))[:LONGEST_TEXT]


def symbols_given(symbols: Any) -> tuple[str, ...]:
    """Return the symbols, each once, from a list or from a text with commas. Raises UsageError."""
    read = symbols_of_text(symbols, "symbols") if isinstance(symbols, str) else symbols_of_value(symbols, "symbols")
    return tuple(read)


def shown(given: Any) -> str:
    """Return a value as text for the sentence of an error."""
    return repr(given)[:60]
