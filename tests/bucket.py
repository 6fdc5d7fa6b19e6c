"""A real S3 endpoint on loopback, and a bucket in it. The fixtures are every test's by way of conftest.py."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.patience import wait_for
from tests.ports import free_port, listens


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of a real S3 endpoint on loopback (moto's). In a process of its own: deltalake holds the
    interpreter's lock while it waits for an answer."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    wait_for(lambda: listens(port))
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


def environment_of(endpoint: str) -> dict[str, str]:
    """What tells of a bucket to all that read and write there."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "of-the-test",
        "AWS_SECRET_ACCESS_KEY": "of-the-test",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty workspace in a bucket, with the environment that tells of a real one."""
    for name, value in environment_of(endpoint).items():
        monkeypatch.setenv(name, value)
    name = f"faces-{os.urandom(4).hex()}"
    place: dict[str, Any] = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)
    return f"s3://{name}/archive"


def upload(folder: Path, url: str) -> str:
    """Puts every file of a folder below that URL; gives it back."""
    name, _, prefix = url.removeprefix("s3://").partition("/")
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            boto3.client("s3").upload_file(str(file), name, f"{prefix}/{file.relative_to(folder)}")
    return url
