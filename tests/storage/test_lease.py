"""One run at a time writes to a workspace in a bucket, and a run that died holds it for minutes only."""

import subprocess
from collections.abc import Iterator

import boto3
import pytest

from storage import lease
from storage.workspace import BadWorkspace, open_workspace
from tests.holding import held_elsewhere
from tests.patience import wait_for
from tests.rows import file_row, files

pytestmark = pytest.mark.slow


@pytest.fixture
def holder(bucket: str) -> Iterator[subprocess.Popen]:
    with held_elsewhere(bucket) as process:
        yield process


def test_a_second_run_is_refused_while_one_writes(bucket: str, holder: subprocess.Popen) -> None:
    with pytest.raises(BadWorkspace, match=f"another run is writing here .process {holder.pid} on"):
        hold(bucket)


def test_a_run_that_was_killed_holds_until_its_hold_expires(
    bucket: str, holder: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.kill()
    holder.wait()
    with pytest.raises(BadWorkspace, match="another run"):
        hold(bucket)
    monkeypatch.setattr(lease, "_EXPIRES_AFTER_S", 0)
    hold(bucket)


def test_the_workspace_is_free_again_after_a_run(bucket: str) -> None:
    hold(bucket)
    hold(bucket)


def test_a_hold_is_renewed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_RENEWED_EVERY_S", 0.1)
    with open_workspace(bucket).only_writer():
        first = tag(bucket)
        wait_for(lambda: tag(bucket) != first, limit_s=30)


def test_of_two_that_saw_a_hold_expired_one_gets_it(bucket: str) -> None:
    open_workspace(bucket)
    dead, first, second = (lease.Lease(f"{bucket}/.lock") for _ in range(3))
    dead._take()
    seen = dead._look()
    assert seen is not None
    assert [first._put(IfMatch=seen.tag), second._put(IfMatch=seen.tag)] == [True, False]


def test_a_run_that_lost_its_hold_commits_no_more(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a laptop's sleep kept silent, while another took over."""
    monkeypatch.setattr(lease, "_RENEWED_EVERY_S", 0.1)
    workspace = open_workspace(bucket)
    with workspace.only_writer():
        name, _, key = f"{bucket}/.lock".removeprefix("s3://").partition("/")
        boto3.client("s3").put_object(Bucket=name, Key=key, Body=b'{"run": "another"}')
        wait_for(lambda: workspace._lease is not None and workspace._lease.is_lost, limit_s=30)
        with pytest.raises(BadWorkspace, match="another run writes here"):
            workspace.append("files", files(file_row("a.jpg")))
    assert tag(bucket)


def hold(url: str) -> None:
    with open_workspace(url).only_writer():
        pass


def tag(url: str) -> str:
    name, _, key = f"{url}/.lock".removeprefix("s3://").partition("/")
    return boto3.client("s3").head_object(Bucket=name, Key=key)["ETag"]
