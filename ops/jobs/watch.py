"""A live view of the documented channels: a line per message, and a note if `seq` shows missing ones."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from rich.text import Text

from ...contracts.errors import UsageError
from ...contracts.messages.message_list import CHANNEL_MESSAGES
from ...contracts.printable import printable
from ...contracts.spellings.json_text import NotJson, read_json
from ...db.redis import AWAY, Client
from ..process.console import make_console
from ..process.shutdown import Stop

CHANNELS = tuple(sorted({entry.channel for entry in CHANNEL_MESSAGES}))

_LOOK_EVERY_S = 0.2
_AGAIN_AFTER_S = 0.5
_LINE = "{:%H:%M:%S}.{:03} {:<39} {:<6} {:<26} {}"
_LONGEST = 200  # characters of one figure

# The keys of messages that a line shows. A foreign message on a channel may have any value there.
_SYMBOL = (
    *("symbol", "data.symbol", "detection.symbol", "calculation.symbol", "payload.symbol"),
    *("current_symbol", "payload.current_symbol"),
)
_WHAT = (
    *("data.pattern", "detection.pattern", "calculation.indicator", "payload.indicator", "alert_type"),
    *("event", "event_type", "type"),
)
_FIGURES = (
    *("data.confidence", "data.tier", "detection.confidence", "detection.timeframe"),
    *("calculation.value", "calculation.timeframe", "data.value", "data.threshold"),
    *("severity", "category", "component", "status", "data.status", "health.status", "message"),
    *("active_symbols", "ticks_per_second", "patterns_detected", "indicators_calculated"),
    *("session.universe", "session.symbol_count", "session.total_patterns", "session.total_indicators"),
    *("metrics.system.cpu_percent", "health_score.overall", "health.overall_score"),
    *("alert.level", "alert.message", "alert_id", "job_id", "progress"),
    *("payload.phase", "payload.progress", "payload.percent_complete", "payload.status", "payload.universe"),
    *("payload.value", "payload.timeframe", "payload.total_symbols", "payload.duration_seconds", "payload.next_run"),
)
_STYLES = {"patterns": "green", "indicators": "cyan", "alerts": "bold red", "errors": "bold red"}


class ReceivedMessage(NamedTuple):
    """A received message. message: {} if the body is not a JSON object."""

    channel: str
    body: bytes
    message: dict[str, Any]


def choose_channels(globs: Sequence[str]) -> list[str]:
    """Return the documented channels that match the globs, all without globs.

    Raises UsageError for one without a match.
    """
    for glob in globs:
        if not any(fnmatchcase(channel, glob) for channel in CHANNELS):
            raise UsageError(f"no documented channel matches {glob!r}; there are: {', '.join(CHANNELS)}")
    return [channel for channel in CHANNELS if not globs or any(fnmatchcase(channel, glob) for glob in globs)]


class Sequences:
    """Finds missed messages by their `seq`."""

    def __init__(self) -> None:
        self.missed: Counter[str] = Counter()
        self._epochs: dict[str, int] = {}  # channel -> the newest epoch
        self._last: dict[tuple[str, int], int] = {}

    def note(self, channel: str, epoch: object, seq: object) -> str | None:
        """Record a message's numbers; return a note if messages are missing or out of order.

        Messages before the first received one do not count as missing: we did not listen then.
        """
        if not isinstance(epoch, int) or not isinstance(seq, int):
            return None
        newest = self._epochs.get(channel, epoch)
        last = self._last.get((channel, epoch), 0 if channel in self._epochs and epoch > newest else seq - 1)
        self._epochs[channel] = max(newest, epoch)
        self._last[channel, epoch] = max(last, seq)
        if seq <= last:
            return f"{channel}: {epoch}:{seq} came after {epoch}:{last}"
        if seq == last + 1:
            return None
        self.missed[channel] += seq - last - 1
        return f"{channel}: {seq - last - 1:,} missed, {epoch}:{last + 1} to {epoch}:{seq - 1}"


class View:
    """Prints messages and counts them. symbols: only these; empty: all. raw: channel and body, notes to stderr."""

    def __init__(self, *, symbols: Sequence[str], raw: bool) -> None:
        self._symbols = frozenset(symbols)
        self._raw = raw
        self._console = make_console(highlight=False) if sys.stdout.isatty() and not raw else None
        self._shown: Counter[str] = Counter()
        self._sequences = Sequences()

    def show(self, heard: ReceivedMessage) -> None:
        """Print a message, after a note about messages missed before it."""
        message = heard.message
        # Before the filter: missing messages are always reported.
        if odd := self._sequences.note(heard.channel, message.get("epoch"), message.get("seq")):
            self.say(odd)
        symbol = _first(message, _SYMBOL)
        if self._symbols and symbol not in self._symbols:
            return
        self._shown[heard.channel] += 1
        if self._raw:
            print(heard.channel, printable(heard.body.decode(errors="backslashreplace")), flush=True)
        else:
            self._print(line(heard, datetime.now(UTC)), _style(heard.channel))

    def say(self, note: str) -> None:
        """Print a note between the messages."""
        if self._raw:
            print(note, file=sys.stderr, flush=True)
        else:
            self._print(f"-- {note}", "yellow")

    def end(self) -> None:
        """Print how many messages of each channel were shown, and how many were missed."""
        self.say(f"{sum(self._shown.values()):,} messages")
        for channel in sorted({*self._shown, *self._sequences.missed}):
            missed = self._sequences.missed[channel]
            self.say(f"{self._shown[channel]:>9,}  {channel}{f', {missed:,} missed' if missed else ''}")

    def _print(self, text: str, style: str) -> None:
        if self._console:
            self._console.print(Text(text, style=style), soft_wrap=True)
        else:
            print(text, flush=True)


def line(heard: ReceivedMessage, at: datetime) -> str:
    """Return a message as one line: time (UTC), channel, symbol, what, figures, and its epoch:seq."""
    message = heard.message
    figures: dict[str, Any] = {}
    for path in _FIGURES:
        if (figure := _at(message, path)) is not None:
            figures.setdefault(path.rpartition(".")[2], figure)
    said = [f"{name} {_written(figure)}" for name, figure in figures.items()]
    said += [f"issue: {text}" for issue in _issues(message) if (text := _first(issue, ("message", "code")))]
    if "seq" in message:
        said.append(_written(f"[{message.get('epoch')}:{message['seq']}]"))
    what = _first(message, _WHAT) if message else _written(heard.body.decode(errors="replace"))
    symbol = _first(message, _SYMBOL) or "-"
    return _LINE.format(at, at.microsecond // 1000, heard.channel, symbol, what or "-", "  ".join(said)).rstrip()


def listen(client: Client, channels: Sequence[str], *, seconds: float | None, stop: Stop, view: View) -> None:
    """Show messages until the time is over or the process must stop; Redis may be away meanwhile."""
    end_s = time.monotonic() + seconds if seconds is not None else float("inf")
    view.say(f"listening on {len(channels)} channels")
    while not stop.is_set() and time.monotonic() < end_s:
        try:
            for heard in _messages(client, channels):
                if heard:
                    view.show(heard)
                if stop.is_set() or time.monotonic() >= end_s:
                    return
        except BrokenPipeError:
            raise  # the reader of our output ended, not Redis, whose client raises errors of its own
        except AWAY as e:
            view.say(f"Redis went away: {e}")
            stop.wait(_AGAIN_AFTER_S)


def _messages(client: Client, channels: Sequence[str]) -> Iterator[ReceivedMessage | None]:
    """Yield messages, and None now and then without one."""
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(*channels)
        while True:
            got = pubsub.get_message(timeout=_LOOK_EVERY_S)
            yield message_of(got["channel"].decode(), got["data"]) if got else None


def _issues(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the issues of a health message."""
    issues = message.get("issues")
    return [issue for issue in issues if isinstance(issue, dict)] if isinstance(issues, list) else []


def message_of(channel: str, body: bytes) -> ReceivedMessage:
    """Parse a received message."""
    try:
        message = read_json(body)
    except NotJson:
        message = None
    return ReceivedMessage(channel, body, message if isinstance(message, dict) else {})


def _at(message: Any, path: str) -> Any:
    """Return the value at a path of keys, "data.symbol", if it is a single value; else None."""
    for key in path.split("."):
        message = message.get(key) if isinstance(message, dict) else None
    return None if isinstance(message, dict | list) else message


def _first(message: dict[str, Any], paths: Sequence[str]) -> str:
    found = (_at(message, path) for path in paths)
    return next((_written(value) for value in found if value is not None), "")


def _written(value: Any) -> str:
    """Write a value on one line, without terminal control characters."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{round(value, 4):,}"
    text = printable(str(value).replace("\n", " "))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _style(channel: str) -> str:
    return next((style for name, style in _STYLES.items() if name in channel), "")
