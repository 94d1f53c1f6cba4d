"""Listen on every documented channel and check each message against the shapes that the application accepts."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ...contracts.accepted.acceptance import ACCEPTED, first_violation
from ...contracts.errors import ServerAway
from ...contracts.printable import printable
from ...contracts.spellings.json_text import NotJson, read_json
from ...db.redis import AWAY, Client
from .watch import Sequences

_LOOK_EVERY_S = 0.2
_SAY_EVERY_S = 5.0
_SHOWN_LENGTH = 300  # of a violation: a foreign message may have a key of any length
_SHOWN_ODD = 10  # out-of-order messages in the report
# The application publishes test messages of its own on these.
_SHARED = frozenset(channel for channel in ACCEPTED if channel.startswith("tickstock."))


@dataclass(slots=True)
class Received:
    """Messages received: counts by channel, the first violation of each, and the messages missed according to `seq`."""

    messages: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    probes: int = 0  # the application's own test messages
    sequences: Sequences = field(default_factory=Sequences)
    out_of_order: list[str] = field(default_factory=list)

    def take(self, channel: str, body: bytes) -> None:
        """Count and check one message."""
        try:
            message = read_json(body)
        except NotJson as e:
            self._violated(channel, f"not JSON: {e}")
            return
        if channel in _SHARED and isinstance(message, dict) and "test" in message:
            self.probes += 1
            return
        if found := first_violation(channel, message):
            self._violated(channel, found)
            return
        self.messages[channel] += 1
        missed = self.sequences.missed[channel]
        odd = self.sequences.note(channel, message["epoch"], message["seq"])
        if odd and self.sequences.missed[channel] == missed and len(self.out_of_order) < _SHOWN_ODD:
            self.out_of_order.append(odd)

    def _violated(self, channel: str, found: str) -> None:
        self.messages[channel] += 1
        self.violations[channel] += 1
        self.first.setdefault(channel, printable(found)[:_SHOWN_LENGTH])


def listen(client: Client, *, seconds: float, say: Callable[[str], None]) -> Received:
    """Listen for some seconds, or until Ctrl-C, and report the progress.

    Raises ServerAway if Redis goes away meanwhile.
    """
    heard = Received()
    start_s = said_s = time.monotonic()
    try:
        for message in _messages(client, until_s=start_s + seconds):
            if message:
                heard.take(*message)
            if (now_s := time.monotonic()) >= said_s + _SAY_EVERY_S:
                said_s = now_s
                say(_progress(heard, now_s - start_s, seconds))
    except KeyboardInterrupt:
        say(f"stopped after {time.monotonic() - start_s:.0f} of {seconds:.0f} s: report until then")
    except AWAY as e:
        raise ServerAway(f"Redis went away while the check listened: {e}", "redis") from e
    return heard


def _messages(client: Client, *, until_s: float) -> Iterator[tuple[str, bytes] | None]:
    """Yield channel and body of each message, and None now and then without one."""
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(*ACCEPTED)
        while (left_s := until_s - time.monotonic()) > 0:
            got = pubsub.get_message(timeout=min(_LOOK_EVERY_S, left_s))
            yield (got["channel"].decode(), got["data"]) if got else None


def _progress(heard: Received, passed_s: float, seconds: float) -> str:
    return (
        f"{passed_s:.0f} of {seconds:.0f} s: {heard.messages.total():,} messages on {len(heard.messages)} channels, "
        f"{heard.violations.total():,} violations"
    )


def report(heard: Received) -> Iterator[str]:
    """Yield the lines of the report: one per channel, then the verdict."""
    width = max(map(len, ACCEPTED))
    yield f"{'channel':<{width}}  {'heard':>9}  {'valid':>9}  {'missed':>7}  first violation"
    for channel in ACCEPTED:
        messages = heard.messages[channel]
        valid = messages - heard.violations[channel]
        row = f"{channel:<{width}}  {messages:>9,}  {valid:>9,}  {heard.sequences.missed[channel]:>7,}"
        yield f"{row}  {heard.first.get(channel, '')}".rstrip()
    yield from (f"out of order: {odd}" for odd in heard.out_of_order)
    if heard.probes:
        yield f"{heard.probes:,} test messages of the application were left out"
    yield _verdict(heard)


def is_good(heard: Received) -> bool:
    """Tell whether messages were received and all were valid."""
    return heard.messages.total() > 0 and not heard.violations


def _verdict(heard: Received) -> str:
    messages, violations = heard.messages.total(), heard.violations.total()
    if not messages:
        return (
            "no message arrived: start `tickstock-bridge` on this Redis (it publishes its health every 5 s), and check "
            "REDIS_URL: the check listens on that Redis"
        )
    if violations:
        return f"{violations:,} of {messages:,} messages are not as the application accepts them"
    missed = heard.sequences.missed.total()
    lost = f"; {missed:,} messages were missed by this listener" if missed else ""
    return f"all {messages:,} messages are as the application accepts them{lost}"
