import pytest
from redis.connection import SSLConnection, UnixDomainSocketConnection
from tickstockpl.contracts.errors import UsageError
from tickstockpl.db.redis_address import parse, shown


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "master"),
    [
        ("redis://h:1/2", "single", (("h", 1),), ""),
        ("redis://h", "single", (("h", 6379),), ""),
        ("redis+sentinel://a:1,b/m/3", "sentinel", (("a", 1), ("b", 26379)), "m"),
        ("redis+cluster://a,b:2", "cluster", (("a", 6379), ("b", 2)), ""),
        ("rediss+cluster://[::1]:7,b:2/0", "cluster", (("::1", 7), ("b", 2)), ""),
    ],
)
def test_hosts_are_read(url, kind, hosts, master):
    where = parse(url)
    assert (where.kind, where.hosts, where.master) == (kind, hosts, master)


@pytest.mark.parametrize("kind", ["redis", "redis+sentinel", "redis+cluster"])
def test_the_login_is_for_each_kind(kind):
    options = parse(f"{kind}://user:p%40ss@a:1/{'m' if 'sentinel' in kind else ''}").options
    assert (options["username"], options["password"]) == ("user", "p@ss")


def test_the_database_is_read():
    assert parse("redis://h/3").options["db"] == 3
    assert parse("redis+sentinel://h/m/3").options["db"] == 3


def test_the_query_holds_more_options():
    where = parse("rediss+sentinel://h/m?ssl_ca_certs=ca.pem&sentinel_password=x")
    assert where.options["connection_class"] is SSLConnection
    assert (where.options["ssl_ca_certs"], where.options["sentinel_password"]) == ("ca.pem", "x")


def test_a_socket_is_an_address():
    where = parse("unix:///run/redis.sock?db=1")
    assert (where.hosts, where.options["path"]) == ((), "/run/redis.sock")
    assert where.options["connection_class"] is UnixDomainSocketConnection
    assert shown("unix:///run/redis.sock?db=1") == "/run/redis.sock"


def test_no_secret_is_shown():
    assert shown("redis+sentinel://user:secret@a:1,b/m") == "a:1,b:26379"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "cannot be read"),
        ("redis://h:port:secret", "cannot be read"),
        ("redis+ring://h", "cannot be read"),
        ("redis+sentinel://:secret@h", "names no master"),
        ("redis+cluster://h/3", "one database"),
        ("redis+sentinel://h/m/secre", "has 'secre' after its master"),
        ("redis://:secret@h?foo=bar", "unknown option: foo"),
        ("redis://:secret@h?ssl_ca_certs=ca.pem", "is for rediss://"),
    ],
)
def test_a_wrong_address_is_refused_without_its_secret(url, says):
    with pytest.raises(UsageError, match=says) as refused:
        parse(url)
    assert "secret" not in str(refused.value)
