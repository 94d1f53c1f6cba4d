"""Why a live feed may have missed ticks: a gap's `why`, and its label in the metrics.

Fixed phrases, because adjacent gaps with the same reason are merged. Only one contains words of Redis.
"""

SPOOL_FULL = "the spool was full"
SPOOL_TOO_OLD = "a spool was found after its producer's numbers were forgotten"
NOT_RUNNING = "the producer was not running"
KEY_REFUSED = "the API key was refused"
FEED_TAKEN = "another process holds the feed with this API key: one connection a key is allowed"
SILENT = "the feed was silent"
CONNECTION_LOST = "the connection was lost"
STARTED = "the producer started within the minute"
ADDED = "the symbol was added within the minute"
_CHANNEL = "channel "

FIRST_MINUTES = (STARTED, ADDED)  # nothing failed: the first minute is incomplete

_CHANNEL_LABEL = "channel_lost"
_LABELS = {
    SPOOL_FULL: "spool_full",
    SPOOL_TOO_OLD: "spool_too_old",
    NOT_RUNNING: "not_running",
    KEY_REFUSED: "key_refused",
    FEED_TAKEN: "feed_taken",
    SILENT: "silent",
    CONNECTION_LOST: "connection_lost",
    STARTED: "started",
    ADDED: "symbol_added",
}
LABELS = (*_LABELS.values(), _CHANNEL_LABEL)


def channel_lost(family: str, why: str) -> str:
    """Return the reason of a gap in a source that reads the application's channels. why: Redis's words."""
    return f"{_CHANNEL}{family}: {why}"


def label_of(reason: str) -> str | None:
    """Return the label of a reason, one of LABELS; None for an unknown reason."""
    return _CHANNEL_LABEL if reason.startswith(_CHANNEL) else _LABELS.get(reason)
