import hashlib

import pytest
from click.testing import CliRunner
from tickstockpl.contracts.errors import UsageError
from tickstockpl.ops.cli.fleet.secrets_command import secrets
from tickstockpl.ops.secrets.folder import make_secrets


def test_what_is_there_is_kept_and_redis_knows_the_hashes(tmp_path):
    folder = tmp_path / "secrets"
    made = {name for name, what in make_secrets(folder) if what == "made"}
    assert made >= {
        "redis_worker",
        "redis_operator",
        "redis_admin",
        "postgres_password",
        "database_password",
        "grafana_password",
    }
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert first.keys() == made
    assert dict(make_secrets(folder)) == dict.fromkeys(made, "kept")
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert len(set(first.values())) == len(first)
    worker = next(line for line in first["redis_users.acl"].splitlines() if line.startswith("user worker "))
    hashed = hashlib.sha256(first["redis_worker"].encode()).hexdigest()
    assert f" on #{hashed} resetkeys resetchannels clearselectors -@all " in worker
    assert "user default off " in first["redis_users.acl"]
    assert first["redis_worker"] not in first["redis_users.acl"]


def test_the_folder_is_its_owners_and_its_files_are_readable_for_a_container(tmp_path):
    folder = tmp_path / "secrets"
    list(make_secrets(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}


def test_a_folder_that_others_may_look_into_is_refused(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    with pytest.raises(UsageError, match=r"is open to other users, and so would be the passwords: chmod 700 "):
        list(make_secrets(folder))
    assert list(folder.iterdir()) == []


def test_an_emptied_password_is_refused_and_one_that_a_person_wrote_is_taken_without_its_line_break(tmp_path):
    folder = tmp_path / "secrets"
    list(make_secrets(folder))
    password = folder / "redis_worker"
    password.chmod(0o600)
    password.write_text("of a person\n")
    list(make_secrets(folder))
    assert hashlib.sha256(b"of a person").hexdigest() in (folder / "redis_users.acl").read_text()
    password.write_text("\n")
    with pytest.raises(UsageError, match="the password of worker is empty"):
        list(make_secrets(folder))


def test_a_second_run_says_what_is_kept_and_what_redis_must_read_again(tmp_path):
    folder = tmp_path / "secrets"
    run = CliRunner()
    first = run.invoke(secrets, [str(folder)]).output.splitlines()
    assert first[-1] == f"made {folder}/redis_users.acl"
    assert run.invoke(secrets, [str(folder)]).output.splitlines() == [line.replace("made", "kept") for line in first]
    (folder / "redis_worker").unlink()
    third = run.invoke(secrets, [str(folder)]).output.splitlines()
    made, changed = (line for line in third if not line.startswith("kept "))
    assert made == f"made {folder}/redis_worker"
    assert changed.startswith(f"changed {folder}/redis_users.acl: restart Redis, which still has the former one")
