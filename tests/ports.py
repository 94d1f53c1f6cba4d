"""Ports for the servers of tests: each is given once, and nobody else gets it before its server is there.

A port that was only found free may be another's by the time that its server starts: of a test in another process, of a
connection of any program. So each stays bound here, without listening, until this process ends; a server that says
SO_REUSEADDR, as all do that tests start, may listen on it nevertheless, also a second time.
"""

import random
import socket
import sys

_PORTS = range(10_000, 20_000)  # below those of outgoing connections, and not among those of the embedded servers


def free_port():
    """Return a port of 127.0.0.1 that is the caller's alone."""
    return next(port for port in random.sample(_PORTS, len(_PORTS)) if take(port))


def take(port):
    """Make a port of 127.0.0.1 the caller's alone; tell whether that was possible."""
    holder = socket.socket()
    try:
        holder.bind(("127.0.0.1", port))  # without SO_REUSEADDR: what another holds is not had
    except OSError:
        holder.close()
        return False
    if sys.platform != "linux":  # elsewhere no second one may listen on it
        holder.close()
        return True
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.detach()
    return True
