"""Who writes to a workspace in a bucket: an object beside its tables, made by a conditional put, renewed while the run
lasts and deleted after it. One that wasn't renewed for two minutes, by the store's own clock, is of a run that died,
and the next one takes it over. It costs three puts of 100 bytes a minute."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from socket import gethostname
from typing import Any
from uuid import uuid4

from storage.refusal import Refusal

logger = logging.getLogger(__name__)
_RENEWED_EVERY_S = 20
_EXPIRES_AFTER_S = 120
_NOT_SO = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "412"}


class Taken(Refusal):
    """Another run has it; the message says which, and until when."""


@dataclass(frozen=True)
class _Seen:
    """What the store says of the object."""

    content: dict[str, Any]
    tag: str
    idle_s: float


class Lease:
    def __init__(self, url: str) -> None:
        """`url` is that of the object. Raises OSError where there is no connection."""
        from botocore.session import get_session

        bucket, _, key = url.partition("://")[2].partition("/")
        self.is_lost = False
        self._place = {"Bucket": bucket, "Key": key}
        self._holder = {"host": gethostname(), "process": os.getpid(), "run": uuid4().hex}
        self._tag = ""
        with _as_os_error():
            self._client: Any = get_session().create_client("s3")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises Taken, and OSError when the store doesn't answer."""
        with _as_os_error():
            self._take()
        over = threading.Event()
        heart = threading.Thread(target=self._keep, args=(over,), name="lease", daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()
            self._give_back()

    def _take(self) -> None:
        if self._put(IfNoneMatch="*"):
            return
        seen = self._look()
        if seen is None:
            raise Taken("another run ended just now; run this again")
        if seen.idle_s < _EXPIRES_AFTER_S or not self._put(IfMatch=seen.tag):
            who = f"process {seen.content.get('process')} on {seen.content.get('host')}"
            left_s = f"should it be dead, its hold ends {_EXPIRES_AFTER_S} s after it"
            raise Taken(f"another run is writing here ({who}); wait for it to end, or stop it; {left_s}")
        logger.warning("took the hold of a run over that is %.0f s silent: %s", seen.idle_s, seen.content)

    def _put(self, **condition: str) -> bool:
        """Whether it is ours now. Each content is another, or a tag would not tell a renewed hold from an old one."""
        from botocore.exceptions import ClientError

        content = json.dumps(self._holder | {"renewed_ns": time.time_ns()}).encode()
        try:
            self._tag = self._client.put_object(**self._place, Body=content, **condition)["ETag"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _NOT_SO:
                raise
            seen = self._look()
            if seen is None or seen.content.get("run") != self._holder["run"]:
                return False
            self._tag = seen.tag  # it was put, the answer went astray, and botocore tried again
        return True

    def _look(self) -> _Seen | None:
        """None when it isn't there."""
        from botocore.exceptions import ClientError

        try:
            answer = self._client.get_object(**self._place)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NOT_SO:
                return None
            raise
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return _Seen(json.load(answer["Body"]), answer["ETag"], (now - answer["LastModified"]).total_seconds())

    def _keep(self, over: threading.Event) -> None:
        """Renews it until the run is over, or until another has taken it."""
        while not self.is_lost and not over.wait(_RENEWED_EVERY_S):
            try:
                with _as_os_error():
                    self.is_lost = not self._put(IfMatch=self._tag)
            except OSError as error:
                logger.warning("the hold on the workspace was not renewed: %s", error)

    def _give_back(self) -> None:
        if self.is_lost:
            return
        try:
            with _as_os_error():
                self._client.delete_object(**self._place)
        except OSError as error:
            logger.warning("the hold on the workspace ends in %d s only: %s", _EXPIRES_AFTER_S, error)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """As the file systems of object stores say it."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        raise OSError(str(error)) from error
