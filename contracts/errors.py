"""The error tree: one class for each thing that a caller does differently. The docstring says what to do. Pure."""

from .server import Server


def first_line(error: Exception) -> str:
    """Return what an error says first."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class TickStockError(Exception):
    """Base of every error that we raise on purpose."""


class UsageError(TickStockError):
    """What the user asked for cannot be: print the message, exit 2; `keep` does not start it again."""


class NothingFound(TickStockError):
    """Nothing is there of what the user asked for: print the message, exit 1, as grep does."""


class SetupError(TickStockError):
    """A server, its schema or this host is not fit for us: print the message, which says what to do, exit 1.

    `keep` starts it again: what is not fit now may be soon.
    """


class ServerAway(TickStockError):
    """Redis or PostgreSQL does not answer: wait with back-off, then restore."""

    def __init__(self, message: str, server: Server) -> None:
        super().__init__(message)
        self.server: Server = server


class DatabaseGone(ServerAway):
    """The server has no database of this name: at the start print the message, exit 1.

    Later it is as any server that is away: one that was renamed or is being restored comes back.
    """


class TlsRefused(ServerAway):
    """A certificate is refused, by us or by the server: at the start print the message, exit 1.

    Later it is as any server that is away: certificates are renewed under processes that run.
    """


class BadFrame(TickStockError):
    """The bytes are no frame that can be read: dead-letter the entry, go on."""


class UnknownFrameVersion(BadFrame):
    """A newer program wrote this frame: dead-letter it, and upgrade this worker."""


class LeaseLost(TickStockError):
    """Another process holds the lease: drop its state, commit nothing, ack nothing."""


class EpochForgotten(TickStockError):
    """Redis lost what it counted in this bridge's epoch: go on in a new epoch, which counts from 1."""


class LeaseTaken(TickStockError):
    """Another process holds the lease now: wait for it to end, or refuse to start."""


class Fenced(TickStockError):
    """A partition's checkpoint moved under us: drop or restore the partitions named, commit the others again."""

    def __init__(self, partitions: list[int]) -> None:
        super().__init__(f"checkpoint moved: {partitions}")
        self.partitions = partitions


class RestAway(TickStockError):
    """The host does not answer as it should now: come back after some minutes."""

    def __init__(self, message: str, *, after_s: float = 0.0) -> None:
        """after_s: how long the host itself said to wait."""
        super().__init__(message)
        self.after_s = after_s


class RestRefused(TickStockError):
    """The host does not allow this key to ask for this: somebody must look at the key or the plan."""


class RestBroken(TickStockError):
    """An answer that cannot be trusted: use none of it."""


class RestStopped(TickStockError):
    """We are to stop: what was asked for is to be asked again."""
