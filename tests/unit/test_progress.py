from tickstockpl.contracts.spellings.tick_values import shown
from tickstockpl.ops.process import progress


def test_progress_is_told_now_and_then_only(monkeypatch):
    said = []
    tell = progress.now_and_then(said.append)
    tell("1 of 3")
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    tell("2 of 3")
    assert said == ["2 of 3"]


def test_bytes_are_shown_as_the_text_that_they_are():
    assert (shown(b"12x"), shown("12x"), shown(b"\xff\n")) == ("'12x'", "'12x'", r"'\xff\n'")
