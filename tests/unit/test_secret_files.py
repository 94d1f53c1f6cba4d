import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.contracts.settings import servers_from
from tickstockpl.ops.secrets.files import with_secrets


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret"
    path.write_text("a/b:c\n")
    return path


def test_passwords_in_files_are_those_of_the_addresses(file):
    environ = {
        "REDIS_HOST": "r", "REDIS_USER": "me", "REDIS_PASSWORD_FILE": str(file),
        "TICKSTOCK_DB_HOST": "p", "TICKSTOCK_DB_PASSWORD_FILE": str(file),
    }  # fmt: skip
    servers = servers_from(with_secrets(environ))
    assert servers.redis_url == "redis://me:a%2Fb%3Ac@r:6379/0"
    assert servers.database_url == "postgresql://app_readwrite:a%2Fb%3Ac@p:5432/tickstock"


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URI", "DATABASE_URL", "MASSIVE_API_KEY"])
def test_an_address_or_a_key_can_stand_in_a_file(file, name):
    assert with_secrets({f"{name}_FILE": str(file)})[name] == "a/b:c"


def test_an_environment_without_files_is_left_as_it_is():
    assert with_secrets({"REDIS_PASSWORD": "p", "REDIS_PASSWORD_FILE": ""})["REDIS_PASSWORD"] == "p"


def test_a_value_beside_its_file_is_refused(file):
    with pytest.raises(UsageError, match="REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set"):
        with_secrets({"REDIS_PASSWORD": "p", "REDIS_PASSWORD_FILE": str(file)})


def test_a_file_that_cannot_be_read_is_named(tmp_path, file):
    with pytest.raises(UsageError, match=r"MASSIVE_API_KEY_FILE names .*none: No such file or directory"):
        with_secrets({"MASSIVE_API_KEY_FILE": str(tmp_path / "none")})
    file.write_text("\n")
    with pytest.raises(UsageError, match=r"REDIS_URL_FILE names .*, which is empty"):
        with_secrets({"REDIS_URL_FILE": str(file)})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not text"):
        with_secrets({"REDIS_URL_FILE": str(file)})
