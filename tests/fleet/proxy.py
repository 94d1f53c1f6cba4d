"""A way to a server on which replies get lost: the command goes through, its reply does not, the connection is cut."""

import socket
import threading
from contextlib import contextmanager, suppress

_CHUNK = 1 << 20


class Proxy:
    """Forwards TCP connections to one server.

    losing: bytes that tell a command, and which of them (1 is the first) lose their reply. Each is counted over all
    connections; a command whose bytes are cut by the network in two is not counted.
    discarding: bytes that tell a connection whose answers are thrown away while `discards` is set: a replica's, so that
    its master acknowledges what dies with it.
    """

    def __init__(self, host, port, losing=None, discarding=None):
        self._server = (host, port)
        self.discarding = discarding
        self.discards = threading.Event()
        self._losing = {command: set(numbers) for command, numbers in (losing or {}).items()}
        self._lock = threading.Lock()
        self.seen = dict.fromkeys(self._losing, 0)
        self.lost = 0
        self.flows = threading.Event()  # clear: it takes everything and passes nothing on, as a server that hangs
        self.flows.set()
        self._refuses = False
        self._links = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.flows.set()
        _shut(self._listener)
        self.cut()

    def refuse(self):
        """Reset every connection, and each new one, until `accept`."""
        self._refuses = True
        self.cut()

    def accept(self):
        self._refuses = False

    def cut(self):
        """Reset every connection, as a switch that restarts does."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                _shut(client)
                continue
            try:
                link = _Link(self, client, socket.create_connection(self._server))
            except OSError:
                _shut(client)
                continue
            with self._lock:
                self._links.append(link)

    def loses_reply(self, sent):
        with self._lock:
            loses = False
            for command, numbers in self._losing.items():
                before = self.seen[command]
                self.seen[command] += sent.count(command)
                if any(before < number <= self.seen[command] for number in numbers):
                    loses = True
            self.lost += loses
            return loses


class _Link:
    """One connection and its two directions."""

    def __init__(self, proxy, client, server):
        self._proxy = proxy
        self._client, self._server = client, server
        self._deaf = False
        self._discardable = False
        for run in (self._to_server, self._to_client):
            threading.Thread(target=run, daemon=True).start()

    def cut(self):
        for end in (self._client, self._server):
            _shut(end)

    def _to_server(self):
        with suppress(OSError):
            while sent := self._client.recv(_CHUNK):
                self._proxy.flows.wait()
                self._discardable |= bool(self._proxy.discarding and self._proxy.discarding in sent)
                self._deaf = self._deaf or self._proxy.loses_reply(sent)  # first: the answer is quick
                self._server.sendall(sent)
        self.cut()

    def _to_client(self):
        with suppress(OSError):
            while answer := self._server.recv(_CHUNK):
                if self._deaf:
                    break  # the server has done it, and said so
                self._proxy.flows.wait()
                if not (self._discardable and self._proxy.discards.is_set()):
                    self._client.sendall(answer)
        self.cut()


def _shut(end):
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxy_to(host, port, losing=None, discarding=None):
    """Give a proxy for the block."""
    proxy = Proxy(host, port, losing, discarding)
    try:
        yield proxy
    finally:
        proxy.close()
