"""A photo is shown from where it was found, and nothing else ever is."""

import hashlib
import os
from pathlib import Path

import boto3
import pytest

from review.original import original
from tasks.bucket import Unreachable
from tasks.folder import escape


@pytest.fixture
def source(tmp_path: Path, hopper: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "hopper.jpg").write_bytes(hopper.read_bytes())
    return folder


@pytest.fixture
def file_hash(hopper: Path) -> str:
    return hashlib.sha256(hopper.read_bytes()).hexdigest()


def test_the_photo_is_read_from_its_folder(source: Path, file_hash: str) -> None:
    photo = original([(str(source), "hopper.jpg")], file_hash)
    assert photo is not None
    assert photo.pixels.shape == (600, 512, 3)


def test_the_next_place_is_tried_where_the_first_is_gone(source: Path, file_hash: str) -> None:
    assert original([(str(source), "gone.jpg"), (str(source), "hopper.jpg")], file_hash) is not None


def test_a_name_that_is_not_utf8_is_found(source: Path, file_hash: str) -> None:
    name = b"caf\xe9.jpg"
    os.rename(source / "hopper.jpg", os.fsencode(source) + b"/" + name)
    assert original([(str(source), escape(name))], file_hash) is not None


@pytest.mark.parametrize("key", ["a//b.jpg", "../caf\N{LATIN SMALL LETTER E WITH ACUTE} %41.jpg"])
def test_the_photo_is_read_from_its_bucket(bucket: str, hopper: Path, file_hash: str, key: str) -> None:
    name, _, prefix = bucket.removeprefix("s3://").partition("/")
    boto3.client("s3").upload_file(str(hopper), name, f"{prefix}/{key}")
    photo = original([(bucket, escape(key.encode()))], file_hash)
    assert photo is not None
    assert photo.pixels.shape == (600, 512, 3)
    assert original([(bucket, "gone.jpg")], file_hash) is None


def test_a_bucket_out_of_reach_is_said(bucket: str, file_hash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unreachable):
        original([(bucket, "hopper.jpg")], file_hash)


def test_another_content_at_the_same_path_is_not_shown(source: Path, file_hash: str, collins: Path) -> None:
    (source / "hopper.jpg").write_bytes(collins.read_bytes())
    assert original([(str(source), "hopper.jpg")], file_hash) is None


@pytest.mark.parametrize("path", ["../outside.jpg", "link.jpg", "folder/outside.jpg"])
def test_nothing_outside_the_folder_is_shown_even_with_the_right_content(
    source: Path, file_hash: str, path: str
) -> None:
    outside = source.parent / "outside.jpg"
    (source / "hopper.jpg").rename(outside)
    (source / "link.jpg").symlink_to(outside)
    (source / "folder").symlink_to(source.parent)
    assert original([(str(source), path)], file_hash) is None


def test_an_absolute_path_leads_nowhere(source: Path, file_hash: str, hopper: Path) -> None:
    assert original([(str(source), str(hopper))], file_hash) is None


def test_a_pipe_does_not_hang_the_page(source: Path, file_hash: str) -> None:
    os.mkfifo(source / "pipe.jpg")
    assert original([(str(source), "pipe.jpg")], file_hash) is None
