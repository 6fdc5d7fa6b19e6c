"""Photos in an S3 bucket: listed and read as those of a folder are, a page of keys and an object at a time.

botocore alone, which s3fs brings: keys are taken as they are, where path libraries would tidy `a//b`, and each worker
process needs one plain connection. It retries by itself; where the bucket stays out of reach the run ends, as a row
that said `unreadable` or `timed_out` would keep a good photo out for ever."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from storage.refusal import Refusal
from storage.values import FileStatus
from tasks.decode import BadPhoto, Content
from tasks.folder import BadFolder, Found, escape

_SCHEME = "s3://"
_GONE = {"NoSuchKey", "404", "NoSuchBucket"}
# A store that stalls is given up after 15 s: before the photo is, at 20 s, which would be held against the photo.
_PATIENCE = {"connect_timeout": 2, "read_timeout": 4, "retries": {"mode": "standard", "total_max_attempts": 3}}
_FORBIDDEN = {"AccessDenied", "403", "InvalidObjectState"}  # the last: in cold storage, to be restored first


class Unreachable(Refusal):
    """The object store doesn't answer, or not as it should."""


def is_in_bucket(path: str | bytes) -> bool:
    return os.fsencode(path).startswith(_SCHEME.encode())


class Bucket:
    """A connection to S3, as the environment or the usual files of AWS have it. Made anew in each process."""

    def __init__(self) -> None:
        """Raises Unreachable."""
        try:
            from botocore.config import Config
            from botocore.session import get_session
        except ImportError as error:
            raise Unreachable("photos in a bucket need the extra s3: pip install 'faceline[s3]'") from error
        with _answering("S3"):
            self._client: Any = get_session().create_client("s3", config=Config(**_PATIENCE))

    def list(self, url: str, *, leave_out: str) -> Iterator[Found]:
        """Every object below `s3://bucket/prefix/`, in the order of their keys; `leave_out` is such a URL below it to
        pass over. What ends in a slash stands for a folder and isn't a file. Raises BadFolder and Unreachable."""
        bucket, prefix = _parts(url.rstrip("/") + "/")
        source = escape(f"{_SCHEME}{bucket}/{prefix}".rstrip("/").encode())
        passed_over = _parts(leave_out.rstrip("/") + "/") if is_in_bucket(leave_out) else ("", "")
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            with _answering(url):
                for page in pages:
                    for each in page.get("Contents", ()):
                        key = each["Key"]
                        if key.endswith("/") or (bucket == passed_over[0] and key.startswith(passed_over[1])):
                            continue
                        path = escape(key.removeprefix(prefix).encode())
                        yield Found(source, path, each["Size"], _changed_ns(each))
        except BadPhoto as bad:
            raise BadFolder(f"{url}: can't be listed: {bad.reason}") from bad

    def read(self, url: bytes, max_bytes: int) -> Content:
        """The object in one read. Raises BadPhoto and Unreachable."""
        with self._opened(url) as answer:
            content = answer["Body"].read(max_bytes + 1)
        if len(content) > max_bytes:
            raise BadPhoto(FileStatus.TOO_LARGE, f"over the limit of {max_bytes:,} bytes")
        return Content(content, hashlib.sha256(content).hexdigest(), _changed_ns(answer))

    def sha256_of(self, url: bytes) -> str:
        """Of an object of any size. Raises as `read` does."""
        digest = hashlib.sha256()
        with self._opened(url) as answer:
            while part := answer["Body"].read(2**20):
                digest.update(part)
        return digest.hexdigest()

    @contextmanager
    def _opened(self, url: bytes) -> Iterator[dict[str, Any]]:
        """S3's answer, whose `Body` is still to be read."""
        text = url.decode()
        bucket, key = _parts(text)
        with _answering(text):
            answer = self._client.get_object(Bucket=bucket, Key=key)
            try:
                yield answer
            finally:
                answer["Body"].close()


def _changed_ns(about: Mapping[str, Any]) -> int:
    return int(about["LastModified"].timestamp()) * 10**9  # S3 knows whole seconds


def _parts(url: str) -> tuple[str, str]:
    """Bucket, and key or prefix."""
    bucket, _, key = url.removeprefix(_SCHEME).partition("/")
    return bucket, key


@contextmanager
def _answering(what: str) -> Iterator[None]:
    """Turns an error of the store into BadPhoto where it is about one object, else into Unreachable."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _GONE:
            raise BadPhoto(FileStatus.UNREADABLE, "gone since it was listed, or never there") from error
        if code in _FORBIDDEN:
            raise BadPhoto(FileStatus.UNREADABLE, f"can't be opened: {code}") from error
        raise Unreachable(f"{what}: {error}; run this again") from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise Unreachable(f"{what}: {error}; run this again") from error
