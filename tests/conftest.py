"""The servers that tests run against: one embedded pair for the whole session, or those that the environment names."""

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis
from tickstockpl.contracts.settings import Servers
from tickstockpl.ops.embedded import embedded_servers


@pytest.fixture(scope="session")
def servers():
    redis_url = os.environ.get("TICKSTOCK_TEST_REDIS_URL")
    database_url = os.environ.get("TICKSTOCK_TEST_DATABASE_URL")
    if redis_url and database_url:
        yield Servers(redis_url, database_url)
        return
    if redis_url or database_url:
        raise pytest.UsageError("set both TICKSTOCK_TEST_REDIS_URL and TICKSTOCK_TEST_DATABASE_URL, or neither")
    folder = reachable_folder()
    with embedded_servers(folder, log=lambda _: None) as started:
        yield started
    shutil.rmtree(folder)


@pytest.fixture
def empty_servers(servers):
    """Give a test a database of its own, dropped afterwards, and Redis without a key."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        redis_url = urlsplit(servers.redis_url)._replace(path="/0").geturl()
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        yield Servers(redis_url, urlsplit(servers.database_url)._replace(path=f"/{name}").geturl())
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def reachable_folder():
    """Make a data folder; not below tmp_path, because root's is closed to PostgreSQL's account."""
    folder = Path(tempfile.mkdtemp(prefix="tickstock-test-"))
    folder.chmod(0o711)
    return folder
