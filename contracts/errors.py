"""The error tree: one class for each case that a caller treats differently. Each docstring tells what to do. Pure."""

from .server import Server


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class TickStockError(Exception):
    """Base of every error that we raise on purpose."""


class UsageError(TickStockError):
    """The user's request is not possible: print the message, exit 2; `keep` does not restart it."""


class NothingFound(TickStockError):
    """The user's request has no results: print the message, exit 1, as grep does."""


class SetupError(TickStockError):
    """A server, its schema or this host is not set up for us: print the message (it contains what to do), exit 1.

    `keep` restarts the process: the setup may be completed later.
    """


class ServerAway(TickStockError):
    """Redis or PostgreSQL does not answer: wait with back-off, then restore."""

    def __init__(self, message: str, server: Server) -> None:
        super().__init__(message)
        self.server: Server = server


class DatabaseGone(ServerAway):
    """The server has no database of this name: at the start print the message, exit 1.

    Later it is treated as ServerAway: a renamed or restored database may come back.
    """


class TlsRefused(ServerAway):
    """A certificate is refused, by us or by the server: at the start print the message, exit 1.

    Later it is treated as ServerAway: certificates are renewed while processes run.
    """


class BadFrame(TickStockError):
    """The bytes are not a readable frame: write a dead letter, continue."""


class UnknownFrameVersion(BadFrame):
    """A newer program wrote this frame: write a dead letter, and upgrade this worker."""


class LeaseLost(TickStockError):
    """Another process holds the lease: drop its state, commit nothing, ack nothing."""


class EpochForgotten(TickStockError):
    """Redis lost the counters of this bridge's epoch: start a new epoch, which counts from 1."""


class LeaseTaken(TickStockError):
    """Another process holds the lease: wait until it ends, or refuse to start."""


class Fenced(TickStockError):
    """Another worker changed a partition's checkpoint: drop or restore these partitions, commit the others again."""

    def __init__(self, partitions: list[int]) -> None:
        super().__init__(f"checkpoint moved: {partitions}")
        self.partitions = partitions


class StepUnwanted(TickStockError):
    """The run was cancelled, or this process stops: leave the step unfinished. An active run deals the step again."""


class RestAway(TickStockError):
    """The host does not answer now, or with a server error: try again after some minutes."""

    def __init__(self, message: str, *, after_s: float = 0.0) -> None:
        """after_s: seconds that the host asked us to wait."""
        super().__init__(message)
        self.after_s = after_s


class RestRefused(TickStockError):
    """The host does not allow this request with this key: a person must check the key or its plan."""


class RestBroken(TickStockError):
    """An answer that cannot be trusted: use none of it."""


class RestStopped(TickStockError):
    """This process must stop: the request has no answer, and must be made again later."""
