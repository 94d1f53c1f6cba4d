"""The flow hash of a partition: `sent`, `done` and `want` of each producer, read and written in this one place.

`sent:PRODUCER` is "number,sends" and is written with each frame (db/streams/frame_stream.py). `done:PRODUCER` is the
number up to which the producer's ticks are committed or counted as lost. `want:PRODUCER` is the number after which a
worker misses frames. Any client may write there: a value that is not a valid number counts as 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from ...contracts.frames.frame import is_name
from ...contracts.names import flow_key
from ..redis import Client, is_foreign

_KINDS = ("sent", "done", "want")
_MOST_DIGITS = 19  # of an int64


class FlowNumbers(NamedTuple):
    """One producer's fields in one partition. sent: the whole text, None if it is absent; want: None if no worker asks.

    A sender compares the text of `sent` with what it wrote last: another text shows that Redis was restored from older
    data.
    """

    sent: str | None
    done: int
    want: int | None

    @property
    def sent_number(self) -> int:
        """The highest number that was sent; 0 if none was sent."""
        return number_in((self.sent or "").encode())


class SentField:
    """What one sender wrote last into `sent:PRODUCER` of one partition.

    Each value is new, even if a number is sent again: so it always shows if Redis was restored from older data.
    """

    def __init__(self) -> None:
        self._sends = 0
        self._written: str | None = None  # None: the stored value is unknown

    def next(self, number: int) -> str:
        """Return the value to write with the next frame. number: the highest that was sent."""
        self._sends += 1
        return f"{number},{self._sends}"

    def note(self, value: str) -> None:
        """Record the value that Redis accepted."""
        self._written = value

    def forget(self) -> None:
        """Forget the written value: the connection was lost, and it is unknown which frames arrived."""
        self._written = None

    def differs(self, found: str | None) -> bool:
        """Tell whether Redis has another value than the written one: then it has lost frames."""
        return self._written is not None and found != self._written


def is_number(text: bytes) -> bool:
    """Tell whether a field of a flow hash holds a number."""
    return text.isdigit() and len(text) <= _MOST_DIGITS and int(text) < 1 << 63


def number_in(value: bytes | None) -> int:
    """Read a number of a flow hash, "number" or "number,sends"; 0 if it is not one of ours."""
    text = (value or b"").partition(b",")[0]
    return int(text) if is_number(text) else 0


def sent_field(producer: str) -> str:
    """Name the field with what a producer has sent."""
    return f"sent:{producer}"


def done_values(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return the fields that tell producers how far their ticks are committed. numbers: by producer."""
    return {f"done:{producer}": number for producer, number in numbers.items()}


def want_values(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return the fields that ask producers to send again. numbers: the last one before the missing frames."""
    return {f"want:{producer}": number for producer, number in numbers.items()}


def want_field(producer: str) -> str:
    """Name the field with which a worker asks a producer to send again."""
    return f"want:{producer}"


def fields_of(producers: Iterable[str]) -> list[str]:
    """Name every field of some producers, to delete them."""
    return [f"{kind}:{producer}" for producer in producers for kind in _KINDS]


def sent_numbers(flow: Mapping[bytes, bytes]) -> dict[str, int]:
    """Read the producers' `sent` numbers from a flow hash; fields that our producers did not write are ignored."""
    fields = ((name[5:].decode(errors="replace"), value.partition(b",")[0]) for name, value in flow.items()
              if name.startswith(b"sent:"))  # fmt: skip
    return {name: int(number) for name, number in fields if is_name(name) and is_number(number)}


def read_flows(client: Client, producer: str, partitions: Sequence[int]) -> dict[int, FlowNumbers | ResponseError]:
    """Return a producer's numbers in some partitions; or the error if a partition's key holds another type.

    Raises every other error that Redis answers.
    """
    pipeline = client.pipeline(transaction=False)
    for partition in partitions:
        pipeline.hmget(flow_key(partition), fields_of([producer]))
    replies = pipeline.execute(raise_on_error=False)
    return {p: reply if is_foreign(reply) else _numbers(reply) for p, reply in zip(partitions, replies, strict=True)}


def _numbers(reply: Sequence[bytes | None] | Exception) -> FlowNumbers:
    if isinstance(reply, Exception):
        raise reply
    sent, done, want = reply
    text = None if sent is None else sent.decode(errors="replace")
    return FlowNumbers(text, number_in(done), None if want is None else number_in(want))


def forget_flow(client: Client, producer: str, partitions: Iterable[int]) -> None:
    """Delete a producer's numbers; a key of another type has none, and is not changed."""
    pipeline = client.pipeline(transaction=False)
    for partition in partitions:
        pipeline.hdel(flow_key(partition), *fields_of([producer]))
    for reply in pipeline.execute(raise_on_error=False):
        if isinstance(reply, Exception) and not is_foreign(reply):
            raise reply
