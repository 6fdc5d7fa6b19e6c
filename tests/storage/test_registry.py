"""A version is whole or not there, is the file that was registered, and the champion always names one."""

import getpass
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from upath import UPath

from storage import registry
from storage.registry import SHIPPED, UnknownModel, Version, champion, find, model_content, promote, register, versions
from storage.trained_on import TRAINED_ON
from storage.workspace import BadWorkspace, Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


@pytest.fixture
def first(workspace: Workspace) -> Version:
    version = register(workspace, b"first model", "# card", {"age_mae": 5.5})
    promote(workspace, version.name, "the first")
    return version


@pytest.fixture
def second(workspace: Workspace, first: Version) -> Version:
    return register(workspace, b"second model", "# card", {"age_mae": 5.0})


def log_of(workspace: Workspace) -> list[dict]:
    return [json.loads(line) for line in (workspace.registry / "log.jsonl").read_text().splitlines()]


def test_a_new_workspace_has_no_versions(workspace: Workspace) -> None:
    assert (versions(workspace), champion(workspace)) == ([], None)


def test_a_version_is_what_was_registered(first: Version) -> None:
    assert (first.model_bytes(), first.card(), first.metrics()) == (b"first model", "# card", {"age_mae": 5.5})
    assert first.model_hash == hashlib.sha256(b"first model").hexdigest()


def test_no_version_becomes_champion_by_itself(workspace: Workspace) -> None:
    register(workspace, b"a model", "# card", {})
    assert champion(workspace) is None


def test_a_later_version_leaves_the_champion_alone(workspace: Workspace, first: Version, second: Version) -> None:
    assert champion(workspace) == first


def test_versions_come_oldest_first(workspace: Workspace, first: Version, second: Version) -> None:
    assert versions(workspace) == [first, second]


def test_metrics_are_found_by_the_models_hash(workspace: Workspace, first: Version, second: Version) -> None:
    assert registry.metrics_of(workspace, first.model_hash) == {"age_mae": 5.5}
    assert registry.metrics_of(workspace, "0" * 64) == {}


def test_promoting_makes_a_champion(workspace: Workspace, second: Version) -> None:
    promote(workspace, second.name, "better by half a year")
    assert champion(workspace) == second
    assert find(workspace, "champion") == second


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_may_be_promoted_before_any_other_is_registered(workspace: Workspace, name: str) -> None:
    promote(workspace, name, "as it is")
    assert champion(workspace) == find(workspace, name)
    assert [line["promoted"] for line in log_of(workspace)] == [name]
    assert versions(workspace) == []


def test_a_workspace_that_cannot_be_written_to_takes_no_champion(workspace: Workspace, first: Version) -> None:
    (workspace.local_root() / ".promoting").unlink()
    (workspace.local_root() / ".promoting").mkdir()
    with pytest.raises(BadWorkspace, match="can't be written to"):
        promote(workspace, "pretrained", "as it is")
    assert champion(workspace) == first


def test_the_latest_is_the_one_registered_last(workspace: Workspace, first: Version, second: Version) -> None:
    assert find(workspace, "latest") == second
    assert model_content(workspace, "latest") == (b"second model", second.name)


def test_of_no_versions_none_is_the_latest(workspace: Workspace) -> None:
    with pytest.raises(UnknownModel, match="no model `latest`"):
        find(workspace, "latest")


def test_promoting_leaves_a_line_on_what_who_and_why(workspace: Workspace, first: Version, second: Version) -> None:
    promote(workspace, second.name, "better by half a year")
    me = getpass.getuser()
    assert [(line["promoted"], line["model_hash"], line["by"], line["reason"]) for line in log_of(workspace)] == [
        (first.name, first.model_hash, me, "the first"),
        (second.name, second.model_hash, me, "better by half a year"),
    ]


def test_a_user_without_a_name_is_logged_by_number(
    workspace: Workspace, first: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # as a container runs under
    promote(workspace, first.name, "again")
    assert log_of(workspace)[-1]["by"] == "uid 54321"


def test_promoting_nothing_changes_nothing(workspace: Workspace, first: Version) -> None:
    with pytest.raises(UnknownModel):
        promote(workspace, "nothing", "by mistake")
    assert champion(workspace) == first
    assert len(log_of(workspace)) == 1


def test_a_changed_byte_is_refused_with_both_hashes(first: Version) -> None:
    (first.folder / "model.onnx").write_bytes(b"First model")
    with pytest.raises(UnknownModel) as caught:
        first.model_bytes()
    assert first.model_hash in str(caught.value)
    assert hashlib.sha256(b"First model").hexdigest() in str(caught.value)


def test_a_lost_file_is_named(first: Version) -> None:
    (first.folder / "model.onnx").unlink()
    with pytest.raises(UnknownModel, match=r"model\.onnx"):
        first.model_bytes()


@pytest.mark.parametrize("left", ["model.onnx", "card.md", "metrics.json"])
def test_a_folder_of_a_killed_export_is_no_version(workspace: Workspace, first: Version, left: str) -> None:
    (workspace.registry / "20990101-000000-dead").mkdir()
    (workspace.registry / "20990101-000000-dead" / left).write_bytes(b"half")
    assert versions(workspace) == [first]


@pytest.mark.parametrize("content", ["", "no json", "{}", "[]"])
def test_a_version_whose_notes_are_damaged_is_named(workspace: Workspace, first: Version, content: str) -> None:
    (first.folder / "version.json").write_text(content)
    with pytest.raises(UnknownModel, match=first.name):
        find(workspace, "champion")


@pytest.mark.parametrize("content", ["", "no json", "{}"])
def test_a_damaged_champion_is_named(workspace: Workspace, first: Version, content: str) -> None:
    (workspace.registry / "champion.json").write_text(content)
    with pytest.raises(UnknownModel, match=r"champion\.json"):
        champion(workspace)


def test_an_unknown_name_lists_what_there_is(workspace: Workspace, first: Version, second: Version) -> None:
    with pytest.raises(UnknownModel) as caught:
        find(workspace, "nothing")
    assert all(name in str(caught.value) for name in ("pretrained", first.name, second.name))


@pytest.mark.parametrize("name", ["../registry", "..", "", "/etc", "champion.json"])
def test_a_name_that_is_a_path_is_unknown(workspace: Workspace, first: Version, name: str) -> None:
    with pytest.raises(UnknownModel):
        find(workspace, name)


def test_a_version_counts_once_all_of_it_is_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole, written = registry.write_whole, []

    def noted(file: UPath, content: bytes) -> None:
        written.append(file.name)
        write_whole(file, content)

    monkeypatch.setattr(registry, "write_whole", noted)
    version = register(workspace, b"a model", "card", {}, b"a list")
    assert (version.folder / TRAINED_ON).read_bytes() == b"a list"
    assert written[-1] == "version.json"
    assert {file.name for file in version.folder.iterdir()} == set(written)


def test_two_versions_of_one_second_are_two(workspace: Workspace) -> None:
    names = {register(workspace, bytes([index]), "card", {}).name for index in range(5)}
    assert len(names) == len(versions(workspace)) == 5


def test_the_champion_is_the_shipped_model_where_none_was_registered(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.write_version(tmp_path / "shipped", "pretrained", b"shipped", "card", {})  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path / "shipped")
    assert find(workspace, "champion").model_bytes() == b"shipped"


def test_a_missing_shipped_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path / "nothing")
    with pytest.raises(UnknownModel, match="install"):
        registry.pretrained()


@pytest.mark.parametrize("name", registry.SHIPPED)
def test_a_changed_byte_of_a_shipped_model_is_refused_with_both_hashes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = registry.shipped(name).model_hash
    shutil.copytree(registry.PRETRAINED, tmp_path / "shipped")
    monkeypatch.setattr(registry, "PRETRAINED", tmp_path / "shipped")
    file = Path(str(registry.shipped(name).folder)) / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UnknownModel) as caught:
        model_content(None, name)
    assert all(found in str(caught.value) for found in (right, hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize("name", registry.SHIPPED)
def test_each_shipped_model_is_found_without_a_workspace_and_is_whole(name: str) -> None:
    content, version = model_content(None, name)
    assert version == name
    assert hashlib.sha256(content).hexdigest() == registry.shipped(name).model_hash


def test_the_shipped_models_stay_under_40_mb_together() -> None:
    assert sum(len(registry.shipped(name).model_bytes()) for name in registry.SHIPPED) < 40_000_000


def test_a_model_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    assert model_content(None, str(tmp_path / "mine.onnx")) == (b"mine", "mine")


@pytest.mark.parametrize("name", ["nothing.onnx", "20260101-000000-abcdef12", "champion"])
def test_a_model_that_is_not_there_is_unknown_without_a_workspace(name: str) -> None:
    with pytest.raises(UnknownModel):
        model_content(None, name)


def test_a_version_is_found_by_name(workspace: Workspace, first: Version) -> None:
    assert model_content(workspace, first.name) == (b"first model", first.name)
