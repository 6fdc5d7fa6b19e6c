"""Photos in a bucket are listed and read as those of a folder are, by any key."""

import hashlib
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from storage.settings import ExtractSettings
from storage.values import FileStatus
from tasks.bucket import Bucket, Unreachable
from tasks.decode import BadPhoto
from tasks.folder import BadFolder
from tests.bucket import environment_of, upload

pytestmark = pytest.mark.slow
ODD_KEYS = ["plain.jpg", "a//b.jpg", "/begins.jpg", "sp ace?#%41*.jpg", "ümlaut/日本.jpg", "empty.jpg"]
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"


@pytest.fixture
def odd(bucket: str) -> str:
    """Keys of all kinds below photos/, and one that stands for a folder."""
    name, client = bucket.split("/")[2], boto3.client("s3")
    for key in ODD_KEYS:
        client.put_object(Bucket=name, Key=f"photos/{key}", Body=b"" if key == "empty.jpg" else key.encode())
    client.put_object(Bucket=name, Key="photos/inner/", Body=b"")
    client.put_object(Bucket=name, Key="photos-of-others/a.jpg", Body=b"")
    return f"s3://{name}/photos"


def test_every_key_is_listed_and_opened_again(odd: str) -> None:
    bucket = Bucket()
    read = {found: bucket.read(found.full_path(), 1000) for found in bucket.list(odd, leave_out="")}
    assert len(read) == len(ODD_KEYS)
    assert {each.data.decode() for each in read.values()} == {*ODD_KEYS, ""} - {"empty.jpg"}
    assert all(hashlib.sha256(each.data).hexdigest() == each.file_hash for each in read.values())
    assert all(found.mtime_ns == each.mtime_ns for found, each in read.items())


def test_a_slash_at_the_end_makes_no_difference(odd: str) -> None:
    listed = [list(Bucket().list(url, leave_out="")) for url in (odd, odd + "/")]
    assert listed[0] == listed[1]
    assert {found.source for found in listed[0]} == {odd}


def test_the_workspace_in_the_bucket_is_left_out(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "crop.jpg").touch()
    (tmp_path / "archive.jpg").touch()
    url = upload(tmp_path, bucket.removesuffix("/archive") + "/all")
    assert [found.path for found in Bucket().list(url, leave_out=f"{url}/archive")] == ["archive.jpg"]


def test_an_object_over_the_limit_is_not_loaded(odd: str) -> None:
    with pytest.raises(BadPhoto) as caught:
        Bucket().read(os.fsencode(f"{odd}/plain.jpg"), 8)
    assert caught.value.status == FileStatus.TOO_LARGE


def test_an_object_that_went_is_unreadable(odd: str) -> None:
    with pytest.raises(BadPhoto) as caught:
        Bucket().read(os.fsencode(f"{odd}/gone.jpg"), 1000)
    assert caught.value.status == FileStatus.UNREADABLE


def test_a_bucket_that_does_not_exist_is_named(bucket: str) -> None:
    with pytest.raises(BadFolder, match="no-such-bucket"):
        list(Bucket().list("s3://no-such-bucket/photos", leave_out=""))


def test_a_store_that_does_not_answer_ends_the_run(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a row `unreadable` for a good photo, which then stayed out for ever."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match="run this again"):
        Bucket().read(os.fsencode(f"{odd}/plain.jpg"), 1000)


@pytest.mark.parametrize("begun", [b"", HALF], ids=["at once", "midway"])
def test_a_store_that_stalls_is_given_up_before_the_photo_is(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a row `timed_out` for a good photo, and for each that comes after it."""
    with stalling(begun) as address:
        for name, value in environment_of(address).items():
            monkeypatch.setenv(name, value)
        bucket, began = Bucket(), time.monotonic()
        with pytest.raises(Unreachable, match="run this again"):
            bucket.read(b"s3://faces/photos/plain.jpg", 1000)
    assert time.monotonic() - began < ExtractSettings(folders=["."]).photo_timeout_s


@contextmanager
def stalling(begun: bytes) -> Iterator[str]:
    """The address of a server that takes each request, begins its answer, and says no more."""
    over = threading.Event()

    class Stall(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(2**16)
            self.request.sendall(begun)
            over.wait()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stall) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            over.set()
            server.shutdown()
