"""Stores for a whole run of the tests: one S3 server, and a web server for each test that asks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuvee.checkpoint import retrying
from tests.support.merging import decoder, write
from tests.support.stores import Bucket, Site, s3_server, website

SECRET = "K7-never-to-be-told"


@pytest.fixture(scope="session")
def store() -> Iterator[Bucket]:
    """An S3 server with one bucket; the libraries find it through the environment, as they do for users."""
    boto3 = pytest.importorskip("boto3")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with s3_server() as (url, trouble), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "tester")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="cellar")
        yield Bucket(client, "cellar", trouble)


@pytest.fixture
def bucket(store: Bucket, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """The bucket, calm and with what the test before left in it taken away."""
    store.trouble.calm()
    for key in store.files():
        store.client.delete_object(Bucket=store.name, Key=key)
    store.trouble.calm()
    yield store
    store.trouble.calm()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A web server over the test's own folder."""
    with website(tmp_path) as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> int:
    """Waits too short to notice; gives how often is asked in all."""
    monkeypatch.setattr(retrying, "WAITS", [0.001] * 5)
    return 6


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three models of one shape in a folder: `base` and `a` in one file, `b` in three with an index."""
    for seed, name in enumerate(("base", "a")):
        write(tmp_path / name, decoder(seed))
    write(tmp_path / "b", decoder(2), shards=3)
    return tmp_path
