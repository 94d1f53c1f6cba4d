"""What the messages about jobs have in common: a JSON object that names its job. Pure."""

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..printable import printable
from ..spellings.json_text import NotJson, read_json
from ..universe import symbols_of_text, symbols_of_value

LONGEST_TEXT = 200


def is_probe(body: bytes) -> bool:
    """Tell whether a message is one with which the application tries its connection: nobody answers it."""
    try:
        fields = read_json(body)
    except NotJson:
        return False
    return isinstance(fields, dict) and "test" in fields and "job_id" not in fields


def fields_of(body: bytes) -> Mapping[str, Any]:
    """Read a message. Raises UsageError where it is no JSON object."""
    try:
        fields = read_json(body)
    except NotJson as e:
        raise UsageError(f"no JSON: {e}") from e
    if not isinstance(fields, dict):
        raise UsageError("a JSON object is needed")
    return fields


def job_id_of(fields: Mapping[str, Any]) -> str:
    """Return the id that its sender gave a job. Raises UsageError where it is not one word."""
    job_id = fields.get("job_id")
    if not isinstance(job_id, str) or not job_id.isprintable() or len(job_id.split()) != 1:
        raise UsageError(f"job_id is {shown(job_id)}: one word is needed")
    if len(job_id) > LONGEST_TEXT:
        raise UsageError(f"job_id is longer than {LONGEST_TEXT} characters")
    return job_id.strip()


def name_of(sender: Any) -> str:
    """Return who asks, as it can be shown and kept."""
    return printable(str(sender or ""))[:LONGEST_TEXT]


def symbols_given(symbols: Any) -> tuple[str, ...]:
    """Read symbols, each once: a list, or a text with commas. Raises UsageError."""
    read = symbols_of_text(symbols, "symbols") if isinstance(symbols, str) else symbols_of_value(symbols, "symbols")
    return tuple(read)


def shown(given: Any) -> str:
    """Show a value in a sentence."""
    return repr(given)[:60]
