"""Puts the deployments of prefect.yaml on a Prefect server, with what that file can't say: the pools, limits that
several deployments share, and automations that close silent runs and tell of failures. Done again, it changes nothing.

No worker and no pool has a limit: behind one, the runs that were missed while the server was down wait as Late and
then run one by one, all six of six with `--limit 1` (PrefectHQ/prefect#16984). A deployment's own limit with CANCEL_NEW
lets one of them run and cancels the others."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import yaml
from prefect.automations import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings

from storage.refusal import Refusal
from storage.scratch import scratch_folder
from storage.settings import DeploySettings
from storage.workspace import open_workspace

WARNING = "faceline.health.warning"  # the event that the flow `health` emits
ONE_WRITER = "one-writer"  # the limit of those that write tables; on a server without it, nobody waits
_ONE_TRAINER = "one-trainer"
_SHARED_LIMIT = "one-"  # a tag that begins so names the limit of one run that its deployments share


class CannotDeploy(Refusal):
    """The deployments can't be put on the server; the message says why."""


def deploy(settings: DeploySettings) -> dict:
    """Deploys to the server of PREFECT_API_URL. Raises CannotDeploy and BadWorkspace."""
    if get_current_settings().api.url is None:
        raise CannotDeploy("PREFECT_API_URL names no Prefect server; `faceline up` starts one and deploys to it")
    workspace = open_workspace(settings.workspace)
    content = _with_own_places(_deployments_file(settings.deployments), str(workspace.root), settings)
    deployments = content["deployments"]
    try:
        with get_client(sync_client=True) as client:
            automations = [_silent_runs(settings.silence_s), *_notification(client, settings.notify)]
            for pool in sorted({deployment["work_pool"]["name"] for deployment in deployments}):
                _make_pool(client, pool)
            _run_prefect_deploy(content)
            for deployment in deployments:
                _share_limit(client, deployment)
            for automation in automations:
                _put(client, automation)
    except httpx.HTTPError as error:
        raise CannotDeploy(f"{get_current_settings().api.url}: {error}") from error
    return {"deployments": len(deployments), "automations": [each.name for each in automations]}


def _deployments_file(given: str | None) -> Path:
    """The file that was asked for, the folder's own, or the one that comes with Faceline's source."""
    here, shipped = Path("prefect.yaml"), Path(__file__).parent.parent / "prefect.yaml"
    file = Path(given) if given else here if here.exists() else shipped
    if not file.exists():
        raise CannotDeploy(f"{file}: there is no such file; name Faceline's prefect.yaml with --deployments")
    return file


def _with_own_places(file: Path, workspace: str, settings: DeploySettings) -> dict:
    """The file's content, with that workspace, and the inbox of these settings, and their device for what trains."""
    inbox = Path(settings.inbox).expanduser().absolute()
    try:
        inbox.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for deployment in content["deployments"]:
            chosen = deployment["parameters"]["settings"]
            chosen["workspace"] = workspace
            if deployment["name"] == "score-inbox":
                chosen["folders"] = [str(inbox)]
            if _ONE_TRAINER in deployment["tags"]:
                chosen["device"] = settings.device
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise CannotDeploy(f"{file}: not a file of deployments like Faceline's prefect.yaml: {error!r}") from error
    return content


def _run_prefect_deploy(content: dict) -> None:
    with scratch_folder() as folder:
        file = folder / "prefect.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        done = subprocess.run(command, stdout=sys.stderr, env=os.environ | {"PREFECT_CLI_COLORS": "false"}, check=False)
    if done.returncode:
        raise CannotDeploy(f"`prefect deploy` ended with status {done.returncode}; the lines above say why")


def _make_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        return


def _share_limit(client: SyncPrefectClient, deployment: dict) -> None:
    """Puts the deployment under the limit that one of its tags names, in the place of one of its own."""
    for tag in deployment["tags"]:
        if not tag.startswith(_SHARED_LIMIT):
            continue
        client.upsert_global_concurrency_limit_by_name(tag, limit=1)
        limit = client.read_global_concurrency_limit_by_name(tag)
        flow = deployment["entrypoint"].rsplit(".", maxsplit=1)[-1]
        found = client.read_deployment_by_name(f"{flow}/{deployment['name']}")
        client.request(
            "PATCH",
            "/deployments/{id}",
            path_params={"id": found.id},
            json={"global_concurrency_limit_id": str(limit.id)},
        )
        try:
            client.delete_global_concurrency_limit_by_name(f"deployment:{found.id}")
        except ObjectNotFound:
            continue  # it was under the shared one already


def _silent_runs(silence_s: int) -> AutomationCore:
    """A run that is killed with its worker stays Running, as nobody is left to say otherwise; the next ones would be
    cancelled by the limit of one (docs.prefect.io/v3/advanced/detect-zombie-flows). One heartbeat that is missing says
    nothing: SQLite, locked for a moment, loses one now and then."""
    states = ("Running", "AwaitingRetry", "Completed", "Failed", "Cancelled", "Crashed")
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.Pending", "prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in states)},
        posture=Posture.Proactive,
        threshold=1,
        within=silence_s,  # pyright: ignore[reportArgumentType]  pydantic takes seconds
    )
    message = f"no heartbeat for {silence_s} seconds: its process was killed, or its machine has gone"
    action = ChangeFlowRunState(state=StateType.CRASHED, name=None, message=message, force=False)
    return AutomationCore(name="Faceline: a silent run has crashed", trigger=trigger, actions=[action])


def _notification(client: SyncPrefectClient, block: str | None) -> list[AutomationCore]:
    """Tells of failed runs and of warnings through that block, if one is set: which flow and where to look, but no
    path, as the message may leave the house."""
    if block is None:
        return []
    kind, name = block.split("/")
    try:
        document = client.read_block_document_by_name(name, kind)
    except ObjectNotFound as error:
        raise CannotDeploy(f"there is no block {block}; make it on Prefect's page, under Blocks") from error
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*", "faceline.*"]}),
        match_related=ResourceSpecification({"prefect.resource.id": "prefect.deployment.*"}),
        for_each={"prefect.resource.id"},
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", WARNING},
        posture=Posture.Reactive,
        threshold=1,
        within=0,  # pyright: ignore[reportArgumentType]
    )
    action = SendNotification(
        block_document_id=document.id,
        subject="Faceline: {{ flow.name }}: {{ event.event.split('.')[-1] }}",
        body="{{ flow_run.name }}: {{ flow_run|ui_url }}",
    )
    return [AutomationCore(name="Faceline: tell of failures and warnings", trigger=trigger, actions=[action])]


def _put(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Makes or changes it, but doesn't touch one that is as it should be: the server would forget which runs it waits
    to hear from."""
    present = client.read_automations_by_name(automation.name)
    if not present:
        client.create_automation(automation)
    elif (present[0].trigger, present[0].actions) != (automation.trigger, automation.actions):
        client.update_automation(present[0].id, automation)
