"""Universes: every spelling of their members, the table cache_entries, changes while a feed runs, the commands."""

import json
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tickstockpl.contracts.errors import SetupError, UsageError
from tickstockpl.contracts.universe import (
    UniverseEntry,
    UniverseFile,
    UniverseList,
    read_universe_option,
    symbols_of_text,
    symbols_of_value,
    value_with,
)
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import migrate
from tickstockpl.db.tables.universe import Universe, list_universes, read_universe, write_universe

COMBO = UniverseEntry("stock_etf_test", "combo_test")

# -- spellings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("stock_etf_test:combo_test", COMBO),
        ("Core ETFs:etf_core", UniverseEntry("Core ETFs", "etf_core")),
        ("@symbols", UniverseFile("symbols")),
        ("lists/tech:2025.txt", UniverseFile("lists/tech:2025.txt")),
        ("tech.CSV", UniverseFile("tech.CSV")),
        ("AAPL, BRK.B,AAPL", UniverseList(["AAPL", "BRK.B"])),
        ("*", UniverseList(["*"])),
    ],
)
def test_an_option_names_an_entry_a_file_or_symbols(text, read):
    assert read_universe_option(text) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no symbol"),
        (" , ", "holds no symbol"),
        ("AAPL,*", "member 2: '\\*' is not a symbol"),
        ("A_SYMBOL_LONGER_THAN_TWENTY", "member 1"),
        (":combo", "NAME:KEY is needed"),
        ("stock:", "NAME:KEY is needed"),
        ("n" * 101 + ":k", "at most 100 characters"),
    ],
)
def test_an_option_that_names_none_says_why(text, said):
    with pytest.raises(UsageError, match=said):
        read_universe_option(text)


@pytest.mark.parametrize(
    "text",
    [
        "AAPL\nBRK.B\nSPY\n",
        "# the three\nAAPL  # Apple\n\n BRK.B;SPY",
        "\ufeffAAPL BRK.B\tSPY\r\nAAPL",
        'name,Symbol,sector\n"Apple, Inc.",AAPL,Tech\nBerkshire #2,BRK.B,\nSPDR,SPY,ETF\n',
        'ticker\nAAPL\nBRK.B\n"SPY"\n',
        'Name;Symbol;Price\n"Apple; Inc.";AAPL;1,5\nBerkshire;BRK.B;2,5\nSPDR;SPY;3\n',
        "symbol\tname\nAAPL\tApple\nBRK.B\tBerkshire, B\nSPY\tSPDR\n",
        '["AAPL", "BRK.B", "SPY"]',
        '{"symbols": ["AAPL", "BRK.B", "SPY"], "count": 3}',
        '{"stocks": [{"ticker": "AAPL", "name": "Apple"}, {"ticker": "BRK.B"}, {"symbol": "SPY"}]}',
    ],
)
def test_a_file_may_be_lines_csv_or_json(text):
    assert symbols_of_text(text, "file") == ["AAPL", "BRK.B", "SPY"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# nothing\n", "file holds no symbol"),
        ("[", "file is not JSON"),
        ("[" * 100_000, "file is not JSON"),
        ('{"etf": 1}', "file is not a universe"),
        ('["AAPL", 7]', "file, member 2"),
        ('["AAPL", "A,B"]', "file, member 2: 'A,B' is not a symbol"),
        ('{"stocks": [{"name": "Apple"}]}', "file, member 1"),
        ("symbol,name\nAAPL,Apple\n,Nobody\n", "file, member 2"),
    ],
)
def test_a_member_that_is_no_symbol_is_refused_with_its_number(text, said):
    with pytest.raises(UsageError, match=said):
        symbols_of_text(text, "file")


@pytest.mark.parametrize(
    ("former", "value"),
    [
        (None, ["A", "B"]),
        (["B", "C"], ["A", "B"]),
        ({"other": 1}, ["A", "B"]),
        ({"symbols": ["C"], "count": 1, "note": "kept"}, {"symbols": ["A", "B"], "count": 2, "note": "kept"}),
        (
            {"stocks": [{"ticker": "B", "name": "Bee"}, {"ticker": "C"}]},
            {"stocks": [{"ticker": "A"}, {"ticker": "B", "name": "Bee"}], "count": 2},
        ),
    ],
)
def test_an_entry_keeps_its_shape_and_what_it_knows_of_a_stock(former, value):
    assert value_with(former, ["A", "B"]) == value
    assert symbols_of_value(value, "value") == ["A", "B"]


# -- the table -------------------------------------------------------------------------------------------------------


@pytest.fixture
def connection(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        yield connection


def insert(connection, value, *, name="stock_etf_test", key="combo_test", kind="stock_etf_combo", environment=None):
    statement = "INSERT INTO cache_entries (type, name, key, value, environment) VALUES (%s, %s, %s, %s, %s)"
    connection.execute(statement, [kind, name, key, Jsonb(value), environment or "DEFAULT"])


def test_an_entry_is_read_by_name_and_key(connection):
    insert(connection, ["X"], key="other")
    insert(connection, {"stocks": [{"ticker": "AAPL"}, {"ticker": "SPY"}]})
    assert read_universe(connection, COMBO) == ["AAPL", "SPY"]


def test_the_entry_for_all_environments_goes_before_another(connection):
    insert(connection, ["STAGED"], environment="staging")
    insert(connection, ["ALL"])
    assert read_universe(connection, COMBO) == ["ALL"]


def test_an_entry_that_is_not_there_says_what_to_do(connection):
    with pytest.raises(UsageError, match="no universe stock_etf_test:combo_test: `tickstock universe ls` lists"):
        read_universe(connection, COMBO)


def test_settings_and_entries_without_symbols_are_not_listed(connection):
    insert(connection, ["AAPL"])
    insert(connection, ["dark"], kind="app_settings", name="app_settings", key="themes")
    insert(connection, {"sector": "Technology"}, kind="stock_metadata", name="AAPL", key="metadata")
    insert(connection, [], kind="themes", name="empty", key="list")
    assert [(*listed.entry, listed.type, listed.symbols) for listed in list_universes(connection)] == [
        ("stock_etf_test", "combo_test", "stock_etf_combo", ["AAPL"])
    ]


def test_a_written_universe_is_there_once_and_tells_what_it_held_before(connection):
    assert write_universe(connection, COMBO, ["A", "B"], kind="themes") == []
    assert write_universe(connection, COMBO, ["B", "C"], kind="stock_universe") == ["A", "B"]
    rows = connection.execute("SELECT type, environment, value FROM cache_entries").fetchall()
    assert rows == [("themes", "DEFAULT", ["B", "C"])]


def test_the_table_of_the_application_stays_as_it_is(empty_servers):
    with postgres.connect(empty_servers.database_url, name="test") as connection:
        connection.execute(
            "CREATE TABLE cache_entries (id serial PRIMARY KEY, type varchar(50) NOT NULL, name varchar(100) NOT NULL,"
            " key varchar(100) NOT NULL, value jsonb, environment varchar(50), created_at timestamp DEFAULT now(),"
            " updated_at timestamp, UNIQUE (type, key, environment))"
        )
        insert(connection, {"symbols": ["AAPL"], "last_updated": "2025-11-26"})
        migrate(connection)
        assert write_universe(connection, COMBO, ["SPY"], kind="themes") == ["AAPL"]
        assert connection.execute("SELECT type, value FROM cache_entries").fetchall() == [
            ("stock_etf_combo", {"symbols": ["SPY"], "count": 1, "last_updated": "2025-11-26"})
        ]


def test_a_role_without_the_right_is_told_what_to_grant(connection):
    role = f"role_{uuid4().hex}"
    connection.execute(f"CREATE ROLE {role}; GRANT SELECT ON cache_entries TO {role}; SET ROLE {role}")
    try:
        with pytest.raises(SetupError, match="grant SELECT, INSERT, UPDATE ON cache_entries to this role"):
            write_universe(connection, COMBO, ["A"], kind="themes")
    finally:
        connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


# -- while a feed runs -----------------------------------------------------------------------------------------------


def test_a_changed_entry_is_told_once(connection, migrated_servers):
    insert(connection, ["A", "B"])
    universe = Universe("stock_etf_test:combo_test", migrated_servers.database_url, look_every_s=0)
    assert (universe.symbols(), universe.changed()) == (["A", "B"], None)
    write_universe(connection, COMBO, ["B", "C"], kind="themes")
    assert universe.changed() == ["B", "C"]
    assert (universe.symbols(), universe.changed()) == (["B", "C"], None)


def test_a_universe_is_looked_at_every_30_seconds_only(connection, migrated_servers):
    insert(connection, ["A"])
    universe = Universe("stock_etf_test:combo_test", migrated_servers.database_url)
    write_universe(connection, COMBO, ["B"], kind="themes")
    assert (universe.changed(), universe.symbols()) == (None, ["A"])


def test_a_universe_that_was_taken_away_or_emptied_stays_as_it_was(connection, migrated_servers):
    insert(connection, ["A", "B"])
    universe = Universe("stock_etf_test:combo_test", migrated_servers.database_url, look_every_s=0)
    connection.execute("UPDATE cache_entries SET value = '[]'")
    assert universe.changed() is None
    connection.execute("DELETE FROM cache_entries")
    assert (universe.changed(), universe.symbols()) == (None, ["A", "B"])
    insert(connection, ["C"])
    assert universe.changed() == ["C"]


def test_a_database_that_is_away_leaves_the_universe_as_it_was(connection, migrated_servers):
    insert(connection, ["A"])
    universe = Universe("stock_etf_test:combo_test", migrated_servers.database_url, look_every_s=0)
    universe._database_url = "postgresql://127.0.0.1:1/none"
    assert (universe.changed(), universe.symbols()) == (None, ["A"])


def test_a_changed_file_is_told_and_a_missing_one_leaves_the_universe_as_it_was(tmp_path):
    file = tmp_path / "symbols.txt"
    file.write_text("AAPL SPY")
    universe = Universe(str(file), "postgresql://127.0.0.1:1/none", look_every_s=0)
    assert (universe.symbols(), universe.changed()) == (["AAPL", "SPY"], None)
    file.write_text("SPY")
    assert universe.changed() == ["SPY"]
    file.unlink()
    assert (universe.changed(), universe.symbols()) == (None, ["SPY"])


def test_a_file_that_is_missing_from_the_start_is_an_error():
    with pytest.raises(UsageError, match=r"^nowhere: No such file or directory$"):
        Universe("@nowhere", "postgresql://127.0.0.1:1/none")


# -- the commands ----------------------------------------------------------------------------------------------------


def test_a_universe_is_imported_listed_and_shown(tmp_path, tickstock, migrated_servers):
    file = tmp_path / "combo.csv"
    file.write_text("symbol,name\nAAPL,Apple\nBRK.B,Berkshire\n")
    first = tickstock("universe", "import", "stock_etf_test:combo_test", file, servers=migrated_servers)
    file.write_text("AAPL SPY QQQ")
    second = tickstock("universe", "import", "stock_etf_test:combo_test", file, servers=migrated_servers)
    assert first.stdout == "stock_etf_test:combo_test: 2 symbols, 2 added, 0 removed\n"
    assert second.stdout == "stock_etf_test:combo_test: 3 symbols, 2 added, 1 removed\n"
    shown = tickstock("universe", "show", "stock_etf_test:combo_test", servers=migrated_servers)
    assert (shown.stdout, shown.returncode) == ("AAPL\nSPY\nQQQ\n", 0)
    listed = tickstock("universe", "ls", "--json", servers=migrated_servers)
    assert json.loads(listed.stdout) == {
        "entry": "stock_etf_test:combo_test",
        "type": "stock_universe",
        "environment": "DEFAULT",
        "symbols": ["AAPL", "SPY", "QQQ"],
    }
    assert "stock_etf_test:combo_test" in tickstock("universe", "ls", servers=migrated_servers).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "a:b"), "cache_entries has no universe a:b"),
        (("import", "a:b", "/dev/null"), "/dev/null holds no symbol"),
    ],
)
def test_a_wrong_command_says_why_and_changes_nothing(tickstock, migrated_servers, arguments, said):
    ran = tickstock("universe", *arguments, servers=migrated_servers)
    assert (said in ran.stderr, ran.returncode) == (True, 2)
    with psycopg.connect(migrated_servers.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM cache_entries").fetchone() == (0,)
