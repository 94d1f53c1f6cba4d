"""Both servers behind TLS: a fleet works with client certificates, and a wrong certificate is named, not waited for."""

import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
import trustme
from tickstockpl.contracts.errors import ServerAway, SetupError, TlsRefused
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.ops.wiring.servers import Place, open_postgres, open_redis_to_look

from .fleet import assert_ledger_balances, assert_same_bars, fleet_on, recount, wait_for
from .tls_proxy import tls_proxy

PARTITIONS = 3


class Certificates:
    """A CA of ours and a stranger's, and what they have signed; each in files, as a user has them."""

    def __init__(self, folder):
        self._folder = folder
        self.ca, stranger = trustme.CA(), trustme.CA()
        self.good = self.ca.issue_cert("localhost")
        self.elsewhere = self.ca.issue_cert("elsewhere.example")
        self.expired = self.ca.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1))
        self.ca_file = self._write("ca.pem", self.ca.cert_pem)
        self.strange_ca_file = self._write("stranger.pem", stranger.cert_pem)
        self.client = self._pair("client", self.ca.issue_cert("tickstock@worker.example"))
        self.strange_client = self._pair("strange", stranger.issue_cert("tickstock@worker.example"))

    def _pair(self, name, certificate):
        return self._write(f"{name}.crt", *certificate.cert_chain_pems), self._write(
            f"{name}.key", certificate.private_key_pem
        )

    def _write(self, name, *blobs):
        file = self._folder / name
        file.write_bytes(b"".join(blob.bytes() for blob in blobs))
        file.chmod(0o600)  # as libpq demands of a key
        return file

    def redis_url(self, url, port, *, ca=None, client=None, host="localhost"):
        options = {"ssl_ca_certs": ca or self.ca_file}
        if client:
            options |= {"ssl_certfile": client[0], "ssl_keyfile": client[1]}
        return f"rediss://{login(url)}{host}:{port}/0?{spelled(options)}"

    def database_url(self, url, port, *, ca=None, client=None, host="localhost"):
        options = {"sslmode": "verify-full", "sslrootcert": ca or self.ca_file}
        if client:
            options |= {"sslcert": client[0], "sslkey": client[1]}
        there = urlsplit(url)
        return f"postgresql://{login(url)}{host}:{port}{there.path}?{spelled(options)}"


def login(url):
    """Return name, password and @ of an address, as far as it has them."""
    before, at, _ = urlsplit(url).netloc.rpartition("@")
    return before + at


def spelled(options):
    return "&".join(f"{name}={quote(str(value))}" for name, value in options.items())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def proxies(migrated_servers):
    """Give a function that puts a certificate before both servers; it returns the two proxies."""
    with ExitStack() as opened:

        def open_proxies(certificate, **how):
            redis, database = (urlsplit(url) for url in (migrated_servers.redis_url, migrated_servers.database_url))
            return (
                opened.enter_context(tls_proxy(redis.hostname, redis.port, certificate, **how)),
                opened.enter_context(
                    tls_proxy(database.hostname, database.port, certificate, asks_postgres=True, **how)
                ),
            )

        yield open_proxies


def test_a_fleet_works_over_tls_and_outlives_a_certificate_that_expired(
    proxies, migrated_servers, certificates, tmp_path, trades
):
    file, ticks = trades
    redis, database = proxies(certificates.good, clients_ca=certificates.ca)
    how = {"client": certificates.client}
    over_tls = Servers(
        certificates.redis_url(migrated_servers.redis_url, redis.port, **how),
        certificates.database_url(migrated_servers.database_url, database.port, **how),
    )
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start_worker("worker", "--commit-ms", 50, servers=over_tls)
        wait_for(lambda: fleet.owners() == {"worker": PARTITIONS}, 30, lambda: f"the worker\n{fleet.logs()}")
        for proxy in (redis, database):
            proxy.use(certificates.expired)
            proxy.cut()
            wait_for(lambda proxy=proxy: proxy.refused >= 2, 30, lambda: f"a second try\n{fleet.logs()}")
            proxy.use(certificates.good)
        fleet.start_replay("producer", [file], servers=over_tls)
        assert fleet.exit_code("producer", 60) == 0, fleet.logs()
        assert fleet.stop("worker") == 0, fleet.logs()
        assert_same_bars(fleet.bars(), recount(file))
        assert_ledger_balances(fleet, ticks)
        said = fleet.log_file("worker").read_text()
        assert said.count("renew the server's certificate") == 1, said
        assert said.count("certificate has expired, or is not of a CA in sslrootcert") == 1, said
        assert_no_password(said, over_tls)


WRONG = {
    "a stranger's CA": (
        "good", {"ca": "strange_ca_file"}, {},
        "unable to get local issuer certificate: name the file with the CA of the server's certificate: ssl_ca_certs",
        "the server's certificate has expired, or is not of a CA in sslrootcert: renew it, or name its CA's file",
    ),
    "another host's": (
        "elsewhere", {}, {},
        "not valid for 'localhost': use a name of the server's certificate in the address",
        'does not match host name "localhost": use a name of the server\'s certificate in the address',
    ),
    "expired": (
        "expired", {}, {},
        "certificate has expired: renew the server's certificate",
        "the server's certificate has expired, or is not of a CA in sslrootcert",
    ),
    "no client certificate": (
        "good", {}, {"clients_ca": "ca"},
        "the server asks for a client certificate: ssl_certfile and ssl_keyfile",
        "the server asks for a client certificate: sslcert and sslkey",
    ),
    "a stranger's client certificate": (
        "good", {"client": "strange_client"}, {"clients_ca": "ca"},
        "the server does not know the CA of our client certificate: ssl_certfile and ssl_keyfile",
        "the server does not know the CA of our client certificate: sslcert and sslkey",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_certificate_is_named_at_once(proxies, migrated_servers, certificates, wrong):
    shown, client, server, redis_says, postgres_says = WRONG[wrong]
    client, server = ({name: getattr(certificates, value) for name, value in side.items()} for side in (client, server))
    redis, database = proxies(getattr(certificates, shown), **server)
    there = Servers(
        certificates.redis_url(migrated_servers.redis_url, redis.port, **client),
        certificates.database_url(migrated_servers.database_url, database.port, **client),
    )
    place = Place(there, embedded=False, connect_timeout_s=3600)
    with pytest.raises(TlsRefused) as refused:
        open_redis_to_look(place)
    assert redis_says in str(refused.value)
    assert f"Redis at localhost:{redis.port}: TLS: " in str(refused.value)
    assert_no_password(str(refused.value), there)
    with pytest.raises(TlsRefused) as refused:
        open_postgres(place, name="test")
    assert postgres_says in str(refused.value)
    assert f"PostgreSQL at localhost:{database.port}/" in str(refused.value)
    assert_no_password(str(refused.value), there)


def test_a_refused_certificate_ends_a_command_with_exit_code_1(proxies, migrated_servers, certificates, tickstock):
    redis, database = proxies(certificates.expired)
    for there in (
        Servers(certificates.redis_url(migrated_servers.redis_url, redis.port), migrated_servers.database_url),
        Servers(migrated_servers.redis_url, certificates.database_url(migrated_servers.database_url, database.port)),
    ):
        ran = tickstock("audit", "--connect-timeout-s", 3600, servers=there)
        assert ran.returncode == 1
        assert "TLS: " in ran.stderr
        assert "expired" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert_no_password(ran.stdout + ran.stderr, there)


def test_tls_on_one_side_only_is_named(proxies, migrated_servers, certificates):
    redis, _ = proxies(certificates.good)
    plain = urlsplit(migrated_servers.redis_url)._replace(netloc=f":x@localhost:{redis.port}").geturl()
    with pytest.raises(TlsRefused, match="it speaks TLS only: write rediss://"):
        open_redis_to_look(Place(Servers(plain, ""), embedded=False, connect_timeout_s=3600))
    without_tls = urlsplit(migrated_servers.database_url)
    with pytest.raises(TlsRefused, match="has no TLS on this port: use its TLS port, or leave sslmode=verify-full out"):
        postgres.connect(f"{without_tls.geturl()}?sslmode=require", name="test")


def test_a_redis_without_tls_that_waits_for_the_rest_of_our_handshake_is_suspected():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rediss://:word@127.0.0.1:{silent.getsockname()[1]}/0?ssl_cert_reqs=none&socket_connect_timeout=0.2"
        with pytest.raises(ServerAway, match=r"does it use TLS\? redis:// is without$"):
            open_redis_to_look(Place(Servers(url, ""), embedded=False, connect_timeout_s=0))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ssl_ca_certs": "/no/such/file"}, "ssl_ca_certs: /no/such/file: No such file"),
        ({"ssl_ca_certs": "{ca}", "ssl_certfile": "{ca}", "ssl_keyfile": "/no/key"}, "ssl_keyfile: /no/key: No such"),
        ({"ssl_keyfile": "{key}"}, "ssl_keyfile needs ssl_certfile"),
        ({"ssl_certfile": "{strange}", "ssl_keyfile": "{key}"}, "key values mismatch"),
        ({"ssl_ca_certs": "{key}"}, "ssl_ca_certs: no certificate"),
        ({"ssl_cert_reqs": "sometimes"}, "ssl_cert_reqs is one of none, optional, required"),
    ],
)
def test_a_wrong_file_is_named_before_anybody_connects(certificates, options, says):
    files = {
        "ca": certificates.ca_file,
        "key": certificates.client[1],
        "strange": certificates.strange_client[0],
    }
    options = {name: value.format(**files) for name, value in options.items()}
    url = f"rediss://:word@localhost:1/0?{spelled(options)}"
    with pytest.raises(SetupError, match=says) as refused:
        open_redis_to_look(Place(Servers(url, ""), embedded=False, connect_timeout_s=3600))
    assert "word" not in str(refused.value)


def assert_no_password(said, servers):
    for url in (servers.redis_url, servers.database_url):
        word = urlsplit(url).password
        assert word is None or word not in said
