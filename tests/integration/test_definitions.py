from importlib import import_module

import pytest
from psycopg.types.json import Jsonb
from tickstockpl.db import postgres
from tickstockpl.db.world import REAL
from tickstockpl.workers.commit.find.result_finder import ResultFinder
from tickstockpl.workers.detect.definitions import (
    correct_references,
    default_definitions,
    read_definitions,
    seed_definitions,
)

EVERYWHERE = {1, 5, 15, 30, 60}


@pytest.fixture
def connection(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        connection.execute("DELETE FROM pattern_definitions")
        connection.execute("DELETE FROM indicator_definitions")
        seed_definitions(connection)
        yield connection


def change(connection, table, name, /, **values):
    for column, value in values.items():
        bound = Jsonb(value) if column == "parameters" else value
        connection.execute(f"UPDATE {table} SET {column} = %s WHERE name = %s", [bound, name])


def names(definitions):
    return {pattern.kind.name for pattern in definitions.patterns}, {
        indicator.indicator.name for indicator in definitions.indicators
    }


def test_seeded_rows_switch_on_what_is_on_by_default(connection):
    definitions = read_definitions(connection)
    patterns, indicators = names(definitions)
    assert {"Doji", "Hammer", "HeadShoulders", "Volume_Spike"} <= patterns
    assert indicators == {"RSI", "SMA_5", "SMA_20"}
    assert definitions.wrong == []
    assert names(default_definitions()) == (patterns, indicators)


def test_seeding_again_leaves_an_edited_row_alone(connection):
    edited = {"enabled": False, "confidence_threshold": 0.9, "applicable_timeframes": ["5min"]}
    change(connection, "pattern_definitions", "Doji", **edited, short_description="mine")
    change(connection, "indicator_definitions", "RSI", period=16, enabled=False)
    connection.execute("DELETE FROM pattern_definitions WHERE name = 'Hammer'")
    seed_definitions(connection)
    statement = (
        "SELECT enabled, confidence_threshold::float8, applicable_timeframes, short_description"
        " FROM pattern_definitions WHERE name = 'Doji'"
    )
    assert connection.execute(statement).fetchall() == [(False, 0.9, ["5min"], "mine")]
    statement = "SELECT enabled, period FROM indicator_definitions WHERE name = 'RSI'"
    assert connection.execute(statement).fetchall() == [(False, 16)]
    statement = "SELECT count(*) FROM pattern_definitions WHERE name = 'Hammer'"
    assert connection.execute(statement).fetchall() == [(1,)]


REFERENCES = "SELECT {} FROM pattern_definitions UNION ALL SELECT {} FROM indicator_definitions"


def test_each_row_names_code_that_exists(connection):
    for (reference,) in connection.execute(REFERENCES.format("code_reference", "code_reference")).fetchall():
        module, _, function = reference.partition(":")
        assert callable(getattr(import_module(module), function)), reference


def test_references_of_an_older_version_are_corrected_and_the_applications_own_are_kept(connection):
    seeded = connection.execute(REFERENCES.format("name, code_reference", "name, code_reference")).fetchall()
    connection.execute("UPDATE pattern_definitions SET code_reference = 'tickstockpl.workers.former:' || name")
    connection.execute("UPDATE indicator_definitions SET code_reference = 'tickstockpl.workers.former:' || name")
    change(connection, "pattern_definitions", "Doji", code_reference="src.patterns.doji")
    correct_references(connection)
    found = dict(connection.execute(REFERENCES.format("name, code_reference", "name, code_reference")).fetchall())
    assert found == dict(seeded) | {"Doji": "src.patterns.doji"}


def test_a_row_says_threshold_timeframes_and_period(connection):
    change(connection, "pattern_definitions", "Doji", confidence_threshold=0.25)
    change(connection, "pattern_definitions", "Doji", applicable_timeframes=["5min", "hourly"])
    change(connection, "indicator_definitions", "RSI", period=16, applicable_timeframes=["1min"])
    definitions = read_definitions(connection)
    (doji,) = [pattern for pattern in definitions.patterns if pattern.kind.name == "Doji"]
    (rsi,) = [indicator for indicator in definitions.indicators if indicator.indicator.name == "RSI"]
    assert (doji.threshold, doji.timeframes) == (0.25, {5, 60})
    assert (rsi.period, rsi.timeframes) == (16, {1})


def test_a_row_that_says_nothing_means_the_defaults(connection):
    nothing = {"applicable_timeframes": None, "parameters": None}
    change(connection, "pattern_definitions", "Doji", confidence_threshold=None, **nothing)
    change(connection, "indicator_definitions", "RSI", period=None, **nothing)
    definitions, defaults = read_definitions(connection), default_definitions()
    assert definitions.wrong == []
    (doji,) = [pattern for pattern in definitions.patterns if pattern.kind.name == "Doji"]
    assert doji in defaults.patterns
    (rsi,) = [indicator for indicator in definitions.indicators if indicator.indicator.name == "RSI"]
    assert (rsi.period, rsi.timeframes) == (14, EVERYWHERE)


def test_timeframes_of_the_daily_run_are_no_concern_of_a_worker(connection):
    change(connection, "pattern_definitions", "Doji", applicable_timeframes=["daily", "15min", "weekly"])
    definitions = read_definitions(connection)
    (doji,) = [pattern for pattern in definitions.patterns if pattern.kind.name == "Doji"]
    assert (doji.timeframes, definitions.wrong) == ({15}, [])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"confidence_threshold": 1.5}, "confidence_threshold is 1.5: from 0 to 1"),
        ({"confidence_threshold": -0.1}, "confidence_threshold is -0.1: from 0 to 1"),
        ({"applicable_timeframes": ["2min"]}, "unknown timeframe 2min"),
        ({"parameters": [1]}, "parameters is not a JSON object"),
        ({"parameters": {"nonsense": 1}}, "unknown parameter nonsense"),
        ({"parameters": {"session": "nightly"}}, "session is 'nightly': regular or extended"),
        ({"parameters": {"session": 5}}, "session is 5: regular or extended"),
        ({"parameters": {"rules": True}}, "parameter rules is neither a number nor a text"),
        ({"parameters": {"rules": None}}, "parameter rules is neither a number nor a text"),
        ({"name": "Unheard_Of"}, "there is no pattern of this name"),
    ],
)
def test_a_wrong_pattern_row_is_named_and_skipped_and_the_others_stay(connection, wrong, why):
    before, indicators = names(read_definitions(connection))
    change(connection, "pattern_definitions", "Doji", **wrong)
    definitions = read_definitions(connection)
    ((table, name, said),) = definitions.wrong
    assert (table, name) == ("pattern_definitions", wrong.get("name", "Doji"))
    assert said.startswith(why)
    assert names(definitions) == (before - {"Doji"}, indicators)


def test_a_row_says_its_session(connection):
    change(connection, "pattern_definitions", "Doji", parameters={"session": "extended"})
    change(connection, "indicator_definitions", "RSI", parameters={"session": "extended"})
    definitions = read_definitions(connection)
    assert {pattern.kind.name for pattern in definitions.patterns if pattern.session == "extended"} == {"Doji"}
    assert {one.indicator.name for one in definitions.indicators if one.session == "extended"} == {"RSI"}


def test_a_pattern_parameter_of_another_type_is_wrong(connection):
    row = connection.execute(
        "SELECT name, key, jsonb_typeof(value) FROM pattern_definitions, jsonb_each(parameters) WHERE enabled"
        " ORDER BY jsonb_typeof(value) LIMIT 1"
    ).fetchone()
    name, parameter, kind = row
    change(connection, "pattern_definitions", name, parameters={parameter: "text" if kind == "number" else 5})
    ((_, wrong, said),) = read_definitions(connection).wrong
    assert wrong == name
    assert said.startswith(f"parameter {parameter} is ")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"period": 1}, "period is 1: from 2 to 17"),
        ({"period": 18}, "period is 18: from 2 to 17"),
        ({"applicable_timeframes": ["hour"]}, "unknown timeframe hour"),
        ({"parameters": "text"}, "parameters is not a JSON object"),
        ({"name": "RSI_9"}, "there is no indicator of this name"),
    ],
)
def test_a_wrong_indicator_row_is_named_and_skipped_and_the_others_stay(connection, wrong, why):
    patterns, _ = names(read_definitions(connection))
    change(connection, "indicator_definitions", "RSI", **wrong)
    definitions = read_definitions(connection)
    ((table, name, said),) = definitions.wrong
    assert (table, name) == ("indicator_definitions", wrong.get("name", "RSI"))
    assert said.startswith(why)
    assert names(definitions) == (patterns, {"SMA_5", "SMA_20"})


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 5_000], ids=["huge", "far below", "5,000 digits"])
@pytest.mark.parametrize(
    ("table", "name", "parameter"),
    [("indicator_definitions", "RSI", "overbought"), ("pattern_definitions", "Doji", "min_range")],
)
def test_a_parameter_that_no_float_holds_is_wrong_in_its_row_alone(connection, table, name, parameter, number):
    patterns, indicators = names(read_definitions(connection))
    statement = f"UPDATE {table} SET parameters = %s::jsonb WHERE name = %s"
    connection.execute(statement, (f'{{"{parameter}": {number}}}', name))
    definitions = read_definitions(connection)
    ((_, wrong, why),) = definitions.wrong
    assert wrong == name
    assert why.startswith("parameter")
    assert names(definitions) == (patterns - {name}, indicators - {name})


def test_a_threshold_that_no_float_holds_is_wrong_in_its_row_alone(connection):
    patterns, _ = names(read_definitions(connection))
    connection.execute("UPDATE pattern_definitions SET confidence_threshold = 1e400 WHERE name = 'Doji'")
    definitions = read_definitions(connection)
    assert [row.name for row in definitions.wrong] == ["Doji"]
    assert names(definitions)[0] == patterns - {"Doji"}


def test_parameters_nested_too_deep_to_be_read_are_wrong_in_their_row_alone(connection):
    patterns, _ = names(read_definitions(connection))
    deep = '{"rule": ' + "[" * 2_000 + "]" * 2_000 + "}"
    connection.execute("UPDATE pattern_definitions SET parameters = %s::jsonb WHERE name = 'Doji'", (deep,))
    definitions = read_definitions(connection)
    assert [row.name for row in definitions.wrong] == ["Doji"]
    assert names(definitions)[0] == patterns - {"Doji"}


def test_a_wrong_row_that_is_switched_off_is_nobodys_concern(connection):
    change(connection, "pattern_definitions", "Doji", confidence_threshold=7, enabled=False)
    assert read_definitions(connection).wrong == []


@pytest.mark.parametrize("not_finite", ["NaN", "Infinity"])
def test_a_threshold_that_is_no_number_is_wrong(connection, not_finite):
    change(connection, "pattern_definitions", "Doji", confidence_threshold=not_finite)
    ((_, name, _),) = read_definitions(connection).wrong
    assert name == "Doji"


def test_definitions_are_read_again_when_the_minute_is_over(connection):
    finder = ResultFinder(connection, world=REAL, history_mb=160)
    finder.find_marked([], 0.0)
    assert "Doji" in names(finder.definitions)[0]
    change(connection, "pattern_definitions", "Doji", enabled=False)
    finder.find_marked([], 0.0)
    assert "Doji" in names(finder.definitions)[0]
    finder._in_force._read_at -= 60
    finder.find_marked([], 0.0)
    assert "Doji" not in names(finder.definitions)[0]


def test_definitions_that_did_not_change_stay_the_same_object(connection):
    finder = ResultFinder(connection, world=REAL, history_mb=160)
    finder.find_marked([], 0.0)
    before = finder.definitions
    finder._in_force._read_at -= 60
    finder.find_marked([], 0.0)
    assert finder.definitions is before
