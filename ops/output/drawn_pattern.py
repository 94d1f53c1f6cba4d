"""Test patterns: random detections, to test the way from here to the application's screen."""

import random
from uuid import UUID, uuid4

import msgspec
from redis.exceptions import ResponseError

from ...contracts.detection import Detection
from ...contracts.errors import EpochForgotten, LeaseLost, ServerAway
from ...contracts.messages.channel_names import PATTERNS as PATTERNS_CHANNEL
from ...contracts.messages.message import Message
from ...contracts.messages.pattern_messages import pattern_messages
from ...db import publisher
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import AWAY, Client, is_pause, redis_ms

# The application's own test draws from these.
SYMBOLS = ("AAPL", "GOOGL", "MSFT", "TSLA", "NVDA")
PATTERNS = ("Volume_Spike", "Price_Breakout", "Support_Test", "Resistance_Break")


class DrawnPattern(Detection, frozen=True, kw_only=True):
    """A made-up detection with a random flow_id: two in one minute are different, unlike real ones."""

    own_flow_id: UUID

    @property
    def flow_id(self) -> UUID:
        """Return the random id."""
        return self.own_flow_id


def draw(
    chance: random.Random, *, symbol: str | None, pattern: str | None, confidence: float | None, tier: str, now_s: float
) -> DrawnPattern:
    """Make up a detection on the last complete minute (now_s: Unix seconds); missing values are random."""
    symbol_drawn, pattern_drawn = chance.choice(SYMBOLS), chance.choice(PATTERNS)
    confidence_drawn = round(chance.uniform(0.7, 0.99), 2)
    change = round(chance.uniform(-5.0, 5.0), 2)
    close = round(chance.uniform(100, 500), 2)
    before = round(close / (1 + change / 100), 2)
    return DrawnPattern(
        symbol=symbol or symbol_drawn,
        pattern=pattern or pattern_drawn,
        timeframe="1min",
        minute=int(now_s) // 60 - 1,
        confidence=confidence_drawn if confidence is None else confidence,
        direction=(change > 0) - (change < 0),
        open=before,
        high=max(before, close),
        low=min(before, close),
        close=close,
        volume=float(chance.randrange(1_000, 1_000_000, 100)),
        detected_at=now_s,
        price_change=change,
        tier=tier,
        own_flow_id=uuid4(),
    )


def log_and_publish(connection: Connection, client: Client, pattern: DrawnPattern) -> list[tuple[str, int]]:
    """Log a test pattern in the database, then publish it on the pattern channels under the active bridge's epoch.

    Return each channel with its number of receivers. Raises ServerAway if Redis fails after the log.
    """
    session = connection.execute(query("session_of_test_pattern")).fetchone()
    messages = pattern_messages(pattern, session_id=str(session[0] if session else uuid4()), result_id=None)
    _log(connection, pattern)
    try:
        receivers = _publish(client, messages)
    except (*AWAY, ResponseError) as e:
        if isinstance(e, ResponseError) and not is_pause(e):
            raise
        why = f"flow_id {pattern.flow_id} is logged; Redis did not confirm the publication: {e}"
        raise ServerAway(why, "redis") from e
    return [(channel, count) for (channel, _), count in zip(messages, receivers, strict=True)]


def _log(connection: Connection, pattern: DrawnPattern) -> None:
    details = {"test": True, "tier": pattern.tier, "timestamp": pattern.detected_at}
    values = {
        "flow_id": pattern.flow_id,
        "channel": PATTERNS_CHANNEL,
        "symbol": pattern.symbol,
        "pattern": pattern.pattern,
        "confidence": pattern.confidence,
        "details": msgspec.json.encode(details).decode(),
    }
    connection.execute(query("log_test_pattern"), values)


def _publish(client: Client, messages: list[Message]) -> list[int]:
    while True:
        try:
            return publisher.Publisher(client, publisher.current_epoch(client)).publish(messages)
        except (LeaseLost, EpochForgotten):
            continue  # a bridge took over in between: nothing was published; retry in the new epoch


def redis_s(client: Client) -> float:
    """Return Redis TIME in Unix seconds, the clock of detections."""
    return redis_ms(client) / 1000
