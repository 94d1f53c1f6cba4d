import pytest
from click.testing import CliRunner
from tickstockpl.contracts.errors import UsageError
from tickstockpl.ops.cli.fleet.secrets_command import secrets
from tickstockpl.ops.secrets.handout import Share, hand_out, take_over


@pytest.fixture
def run(tmp_path):
    """Give a function that runs the command as compose.yaml does; it returns code and output."""
    for service in ("worker", "producer"):
        (tmp_path / service).mkdir(exist_ok=True)

    def run(needed=""):
        shares = (f"{tmp_path}/worker=redis_worker", f"{tmp_path}/producer=redis_producer,massive_api_key?")
        words = [word for share in shares for word in ("--hand-out", share)]
        made = [str(tmp_path / "all" / "made"), "--given", str(tmp_path / "given")]
        result = CliRunner().invoke(secrets, [*made, *words], env={"TICKSTOCK_NEEDED_SECRETS": needed})
        return result.exit_code, result.output

    return run


def names_in(folder):
    return {file.name for file in folder.iterdir()}


def test_each_service_gets_its_own_and_a_second_start_changes_nothing(run, tmp_path):
    (tmp_path / "all").mkdir(mode=0o755)  # as a volume is
    code, said = run()
    assert code == 0
    assert f"handed out {tmp_path}/worker/redis_worker\n" in said
    assert (names_in(tmp_path / "worker"), names_in(tmp_path / "producer")) == ({"redis_worker"}, {"redis_producer"})
    assert (tmp_path / "worker" / "redis_worker").stat().st_mode & 0o777 == 0o444
    first = (tmp_path / "worker" / "redis_worker").read_text()
    code, said = run()
    assert (code, "handed out" in said, "made " in said) == (0, False, False)
    assert (tmp_path / "worker" / "redis_worker").read_text() == first


def test_what_the_user_gave_is_taken_over_also_later_and_stays_when_it_is_gone(run, tmp_path):
    run()
    given = tmp_path / "given"
    given.mkdir()
    for name in ("redis_worker", "massive_api_key", "redis_users.acl", ".gitignore"):
        (given / name).write_text(f"{name} of the user")
    code, said = run("massive_api_key")
    assert code == 0
    assert f"took over {given}/redis_worker\n" in said
    assert (tmp_path / "worker" / "redis_worker").read_text() == "redis_worker of the user"
    assert (tmp_path / "producer" / "massive_api_key").read_text() == "massive_api_key of the user"
    assert "of the user" not in (tmp_path / "all" / "made" / "redis_users.acl").read_text()
    for file in given.iterdir():
        file.unlink()
    assert run("massive_api_key")[0] == 0
    assert (tmp_path / "worker" / "redis_worker").read_text() == "redis_worker of the user"


def test_a_needed_file_that_is_missing_is_named_before_anything_is_made(run, tmp_path):
    code, said = run("massive_api_key")
    assert code == 2
    assert f"there is no {tmp_path}/given/massive_api_key: write the secret into this file" in said
    assert not (tmp_path / "all").exists()


def test_what_is_to_be_handed_out_has_to_be_there(tmp_path):
    with pytest.raises(UsageError, match="needs redis_nobody, but there is no "):
        list(hand_out(tmp_path, [Share(tmp_path / "x", ("redis_nobody",))]))


def test_without_a_folder_of_the_user_nothing_is_taken_over(tmp_path):
    assert list(take_over(tmp_path / "none", tmp_path / "made")) == []


@pytest.mark.parametrize("share", ["=a", "/x", "/x=", "/x=a,,b", "/x=?"])
def test_a_share_that_says_nothing_is_refused(share, tmp_path):
    result = CliRunner().invoke(secrets, [str(tmp_path), "--hand-out", share])
    assert (result.exit_code, "is not FOLDER=NAME" in result.output) == (2, True)
