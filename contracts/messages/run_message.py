"""A message of a run, as stored in the outbox and in a results stream: its body is final. Pure."""

from collections.abc import Sequence

import msgspec

from .message import Message


class RunMessage(msgspec.Struct, frozen=True, array_like=True):
    """A channel, and the body to publish on it."""

    channel: str
    body: msgspec.Raw


def run_body(messages: Sequence[Message]) -> bytes:
    """Write messages as the body of a row of kind `run`."""
    return msgspec.json.encode([RunMessage(channel, msgspec.Raw(body)) for channel, body in messages])


def with_result_id(said: RunMessage, result_id: str) -> Message:
    """Return the message with the id under which it can be read again, as its last key."""
    return said.channel, bytes(said.body)[:-1] + f',"result_id":"{result_id}"}}'.encode()
