import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.settings import Servers, servers_from

REDIS = {"REDIS_URL": "redis://r:1/0"}
DATABASE = {"DATABASE_URL": "postgresql://p/x"}


def test_nothing_set_means_the_embedded_servers():
    assert servers_from({}) is None
    assert servers_from({"REDIS_URL": "", "DATABASE_URL": "", "REDIS_PORT": "6379", "TICKSTOCK_DB_NAME": "x"}) is None


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_URL": "rediss://:p@r:7/2"}, "rediss://:p@r:7/2"),
        ({"REDIS_HOST": "r"}, "redis://r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_PORT": "7000", "REDIS_DB": "3"}, "redis://r:7000/3"),
        ({"REDIS_HOST": "r", "REDIS_PORT": "", "REDIS_PASSWORD": ""}, "redis://r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_PASSWORD": "a/b@c:d"}, "redis://:a%2Fb%40c%3Ad@r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_USER": "a:b", "REDIS_PASSWORD": "p"}, "redis://a%3Ab:p@r:6379/0"),
        ({"REDIS_URL": "redis://one", "REDIS_HOST": "another"}, "redis://one"),
    ],
)
def test_redis_is_found_in_every_spelling(environ, url):
    assert servers_from(environ | DATABASE) == Servers(url, "postgresql://p/x")


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"DATABASE_URL": "postgresql://u:p@h:1/d"}, "postgresql://u:p@h:1/d"),
        ({"DATABASE_URI": "postgresql://uri", "DATABASE_URL": "postgresql://url"}, "postgresql://uri"),
        ({"DATABASE_URL": "postgresql+psycopg2://u:p+q@h/d"}, "postgresql://u:p+q@h/d"),
        ({"DATABASE_URL": "host=h dbname=d"}, "host=h dbname=d"),
        ({"TICKSTOCK_DB_HOST": "h"}, "postgresql://app_readwrite@h:5432/tickstock"),
        (
            {
                "TICKSTOCK_DB_HOST": "h", "TICKSTOCK_DB_PORT": "5433", "TICKSTOCK_DB_NAME": "bars",
                "TICKSTOCK_DB_USER": "me@work", "TICKSTOCK_DB_PASSWORD": "a/b:c",
            },
            "postgresql://me%40work:a%2Fb%3Ac@h:5433/bars",
        ),
    ],
)  # fmt: skip
def test_the_database_is_found_in_every_spelling(environ, url):
    assert servers_from(environ | REDIS) == Servers("redis://r:1/0", url)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_break_at_the_end_is_none_of_a_secret(end):
    urls = {"REDIS_URL": f"redis://r:1/0{end}", "DATABASE_URL": f"postgresql://p/x{end}"}
    assert servers_from(urls) == Servers("redis://r:1/0", "postgresql://p/x")
    assert servers_from({"DATABASE_URI": f"postgresql://u{end}"} | REDIS).database_url == "postgresql://u"
    parts = {
        "REDIS_HOST": "r", "REDIS_PASSWORD": f"a b {end}", "TICKSTOCK_DB_HOST": "h", "TICKSTOCK_DB_PASSWORD": f"c{end}"
    }  # fmt: skip
    assert servers_from(parts) == Servers("redis://:a%20b%20@r:6379/0", "postgresql://app_readwrite:c@h:5432/tickstock")
    assert servers_from({"REDIS_URL": end, "DATABASE_URL": end}) is None


@pytest.mark.parametrize(("given", "missing"), [("REDIS_URL", "DATABASE_URL"), ("REDIS_HOST", "DATABASE_URL")])
def test_redis_alone_is_refused_with_what_is_missing(given, missing):
    with pytest.raises(UsageError, match=f"{given} is set but no database: set {missing}"):
        servers_from({given: "r"})


@pytest.mark.parametrize("given", ["DATABASE_URI", "DATABASE_URL", "TICKSTOCK_DB_HOST"])
def test_a_database_alone_is_refused_with_what_is_missing(given):
    with pytest.raises(UsageError, match=f"{given} is set but no Redis: set REDIS_URL"):
        servers_from({given: "postgresql://h"})


@pytest.mark.parametrize("name", ["REDIS_PORT", "REDIS_DB", "TICKSTOCK_DB_PORT"])
def test_a_port_that_is_no_number_is_named(name):
    with pytest.raises(UsageError, match=f"{name} is 'five': a whole number is needed"):
        servers_from({"REDIS_HOST": "r", "TICKSTOCK_DB_HOST": "h", name: "five"})


def test_no_secret_reaches_a_repr():
    servers = servers_from({"REDIS_URL": "redis://:secret@r", "DATABASE_URL": "postgresql://me:secret@h/d"})
    assert "secret" not in f"{servers} {servers!r}"
