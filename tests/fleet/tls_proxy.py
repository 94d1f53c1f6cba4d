"""TLS in front of a server that has none, as stunnel does it: what is behind it speaks plainly, and is not told."""

import socket
import ssl
import threading
from contextlib import contextmanager, suppress

_CHUNK = 1 << 20
_SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)  # PostgreSQL's client asks so for TLS, before it begins


class TlsProxy:
    """Takes TLS connections with `certificate` (of trustme), and passes on what they say.

    asks_postgres: a client asks first whether there is TLS. clients_ca: whose certificates a client needs to show one
    of; None: nobody is asked.
    """

    def __init__(self, host, port, certificate, *, asks_postgres=False, clients_ca=None):
        self._server = (host, port)
        self._asks_postgres = asks_postgres
        self._clients_ca = clients_ca
        self._lock = threading.Lock()
        self._ends = []
        self.refused = 0  # connections that ended before anything was passed on
        self.use(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def use(self, certificate):
        """Show this certificate to whoever connects from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        if self._clients_ca:
            self._clients_ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        self._context = context

    def cut(self):
        """Reset every connection."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            _shut(end)

    def close(self):
        _shut(self._listener)
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            if self._asks_postgres:
                while client.recv(8, socket.MSG_WAITALL) != _SSL_REQUEST:
                    client.sendall(b"N")  # it asked for GSSAPI
                client.sendall(b"S")
            client = self._context.wrap_socket(client, server_side=True)
            server = socket.create_connection(self._server)
        except OSError:
            with self._lock:
                self.refused += 1
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                while client.recv(_CHUNK):  # a close before all is read would be a reset, and hide the alert
                    pass
            _shut(client)
            return
        with self._lock:
            self._ends += [client, server]
        for pair in ((client, server), (server, client)):
            threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source, target):
    with suppress(OSError, ValueError):
        while said := source.recv(_CHUNK):
            target.sendall(said)
    _shut(source)
    _shut(target)


def _shut(end):
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def tls_proxy(host, port, certificate, **how):
    """Give a proxy for the block."""
    proxy = TlsProxy(host, port, certificate, **how)
    try:
        yield proxy
    finally:
        proxy.close()
