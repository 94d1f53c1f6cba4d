"""PUBLISH with counters: `epoch` and `seq` are counted and written into the message in the same step.

They show a subscriber what it missed. Nothing is published once a newer epoch is registered. Only this, not a clock,
keeps a stalled bridge from publishing beside its successor.
"""

from collections.abc import Sequence

from redis.exceptions import ResponseError

from ..contracts.errors import EpochForgotten, LeaseLost
from ..contracts.messages.message import Message
from ..contracts.names import BRIDGE_EPOCH, bridge_seq_key
from .look.foreign_keys import foreign_keys
from .redis import Client, is_foreign, node_of
from .streams.flow import number_in

MESSAGES_A_CALL = 200  # then the script blocks Redis for about 2 ms

_SEQ_KEPT_S = 86_400
_NO_COUNT = ("not an integer", "would overflow")  # as HINCRBY returns it
_MAX_EPOCH = 2**53 - 1  # the largest whole number that scripts and readers of JSON hold exactly
_CHECK_EPOCH = f"""
local newest = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if newest > {_MAX_EPOCH} then newest = 0 end
if newest > tonumber(ARGV[1]) then return 'newer' end
"""
_OPEN = f"""{_CHECK_EPOCH}
redis.call('SET', KEYS[1], ARGV[1])
return 'open'
"""
# Full memory refuses the first HINCRBY, before anything is published; after it, nothing is refused.
_PUBLISH = f"""{_CHECK_EPOCH}
if newest < tonumber(ARGV[1]) then return 'forgotten' end
if (tonumber(redis.call('HGET', KEYS[2], '') or '0') or -1) < tonumber(ARGV[2]) then return 'forgotten' end
local reply = {{redis.call('HINCRBY', KEYS[2], '', (#ARGV - 3) / 2)}}
redis.call('EXPIRE', KEYS[2], ARGV[3])
for i = 4, #ARGV, 2 do
    local seq = redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
    local tail = ',"epoch":' .. ARGV[1] .. ',"seq":' .. string.format('%d', seq) .. '}}'
    reply[#reply + 1] = redis.call('PUBLISH', ARGV[i], string.sub(ARGV[i + 1], 1, -2) .. tail)
end
return reply
"""


class Publisher:
    """Publishes under one epoch. receivers: number of subscribers that received the last message of each channel."""

    def __init__(self, client: Client, epoch: int) -> None:
        self.epoch = epoch
        self.receivers: dict[str, int] = {}
        self._client = client
        self._open = client.register_script(_OPEN)
        self._publish = client.register_script(_PUBLISH)
        self._keys = (BRIDGE_EPOCH, bridge_seq_key(epoch))
        self._said = 0  # a lower bound in this epoch: a reply may be lost, or another process may publish in it
        self._server = ""

    def open(self) -> None:
        """Register the epoch; older epochs can no longer publish. Raises LeaseLost if a newer one exists."""
        self._server = _run_id(self._client)
        if self._open(keys=self._keys[:1], args=(self.epoch,)) == b"newer":
            raise LeaseLost(f"a bridge with a newer epoch than {self.epoch} is active")

    def check_server(self) -> None:
        """Check Redis after its connection was lost: a restarted Redis may have lost its last second.

        Raises EpochForgotten then, because the numbers of that second would be given twice.
        """
        if _run_id(self._client) != self._server:
            raise EpochForgotten(f"Redis restarted in epoch {self.epoch}")

    def publish(self, messages: Sequence[Message]) -> list[int]:
        """Publish in order; return how many subscribers received each message.

        Raises LeaseLost if a newer epoch is registered, EpochForgotten if Redis lost our epoch's counters; then none
        of a call's up to 200 messages is published.
        """
        receivers: list[int] = []
        for first in range(0, len(messages), MESSAGES_A_CALL):
            receivers += self._call(messages[first : first + MESSAGES_A_CALL])
        return receivers

    def _call(self, messages: Sequence[Message]) -> list[int]:
        fields = [part for message in messages for part in message]
        try:
            reply = self._publish(keys=self._keys, args=(self.epoch, self._said, _SEQ_KEPT_S, *fields))
        except ResponseError as e:
            self._look_at_counts(e)
            raise
        if reply == b"newer":
            raise LeaseLost(f"a bridge with a newer epoch than {self.epoch} is active")
        if reply == b"forgotten":
            raise EpochForgotten(f"Redis lost the counters of epoch {self.epoch}")
        self._said, *rest = reply
        receivers: list[int] = rest
        self.receivers.update(zip((channel for channel, _ in messages), receivers, strict=True))
        return receivers

    def _look_at_counts(self, error: ResponseError) -> None:
        """Raise EpochForgotten if another program changed this epoch's counters, so that they cannot be used."""
        key = self._keys[1]
        is_ours = not any(words in str(error) for words in _NO_COUNT)
        if is_ours and (not is_foreign(error) or not foreign_keys(self._client, {key: "hash"})):
            return
        raise EpochForgotten(f"{key} holds foreign values: {error}") from error


def current_epoch(client: Client) -> int:
    """Return the epoch of the active bridge. 0: no bridge has registered one, or another program overwrote the key."""
    epoch = number_in(client.get(BRIDGE_EPOCH))
    return epoch if epoch <= _MAX_EPOCH else 0


def _run_id(client: Client) -> str:
    return str(node_of(client, BRIDGE_EPOCH).info("server")["run_id"])
