"""The command `faceline`: each verb does what the deployment of its name does, without a server.

The last line on stdout is one JSON object of counts; progress and logs go to stderr. Exit status 0: done (files that
failed have their rows), 1: the work could not be done, 2: wrong usage. Stages are imported when they're asked for:
worker processes import this file too, and `--help` should be quick."""

import json
import logging
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, CliSubCommand, SettingsConfigDict, get_subcommand
from rich.logging import RichHandler

from flows.log_lines import keep_lines_whole
from storage import settings as knobs
from storage.refusal import Refusal, harmless

_FROM_A_SIGNAL = 128  # exit statuses above it, as shells have them
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}  # TensorFlow's start-up lines help nobody


_WORK: dict[type[BaseModel], str] = {  # the function that does each command's work, imported when it's asked for
    knobs.ExtractSettings: "flows.extraction:extract_here",
    knobs.LabelSettings: "flows.label:label_photos",
    knobs.DataReportSettings: "flows.data_report:report_data",
    knobs.TrainSettings: "flows.train:train_model",
    knobs.ExportSettings: "flows.export:export_run",
    knobs.EvaluateSettings: "flows.evaluate:evaluate_model",
    knobs.ScoreSettings: "flows.scoring:score_here",
    knobs.PredictSettings: "flows.predict:predict_photos",
    knobs.RetrainSettings: "flows.retrain:retrain_model",
    knobs.PromoteSettings: "flows.gate:promote_model",
    knobs.CompareSettings: "flows.gate:compare_models",
    knobs.ReviewSettings: "flows.review_server:serve",
    knobs.UpSettings: "flows.up:serve",
    knobs.DeploySettings: "flows.deployments:deploy",
    knobs.HealthSettings: "flows.health:examine_workspace",
    knobs.DemoSettings: "flows.demo:run_demo",
    knobs.ListModelsSettings: "flows.inventory:list_models",
    knobs.ShowModelSettings: "flows.inventory:show_card",
    knobs.DoctorSettings: "flows.inventory:examine",
    knobs.ForgetSettings: "flows.forget:forget_photos",
    knobs.AuditSettings: "flows.audit:list_acts",
    knobs.CompactSettings: "flows.compact:compact_workspace",
}


class Models(BaseModel):
    """List, show, compare and promote models."""

    list: CliSubCommand[knobs.ListModelsSettings]
    show: CliSubCommand[knobs.ShowModelSettings]
    compare: CliSubCommand[knobs.CompareSettings]
    promote: CliSubCommand[knobs.PromoteSettings]


class Faceline(BaseSettings):
    """Folders of photographs into an age-and-gender model, and that model into scored, reviewable tables."""

    model_config = SettingsConfigDict(
        cli_prog_name="faceline",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_use_class_docs_for_groups=True,
        env_prefix="FACELINE_CLI_",
    )
    extract: CliSubCommand[knobs.ExtractSettings]
    label: CliSubCommand[knobs.LabelSettings]
    data: CliSubCommand[knobs.DataReportSettings]
    train: CliSubCommand[knobs.TrainSettings]
    export: CliSubCommand[knobs.ExportSettings]
    evaluate: CliSubCommand[knobs.EvaluateSettings]
    score: CliSubCommand[knobs.ScoreSettings]
    predict: CliSubCommand[knobs.PredictSettings]
    retrain: CliSubCommand[knobs.RetrainSettings]
    models: CliSubCommand[Models]
    review: CliSubCommand[knobs.ReviewSettings]
    up: CliSubCommand[knobs.UpSettings]
    deploy: CliSubCommand[knobs.DeploySettings]
    health: CliSubCommand[knobs.HealthSettings]
    forget: CliSubCommand[knobs.ForgetSettings]
    audit: CliSubCommand[knobs.AuditSettings]
    compact: CliSubCommand[knobs.CompactSettings]
    doctor: CliSubCommand[knobs.DoctorSettings]
    demo: CliSubCommand[knobs.DemoSettings]


class Ended(BaseException):
    """The system asked this process to end, with the signal of this number."""


def main() -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    status = run(sys.argv[1:])
    if status > _FROM_A_SIGNAL:
        sys.stdout.flush()
        os._exit(status)  # at once: Python would wait for steps whose work nobody will commit
    sys.exit(status)


def _end(number: int, _frame: object) -> NoReturn:
    raise Ended(number)


def run(arguments: list[str]) -> int:
    """Runs one command; returns its exit status."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    _log_to_stderr()
    try:
        command = _parse(arguments)
    except ValidationError as error:
        for problem in error.errors():
            where = " ".join(str(part) for part in problem["loc"][1:]).replace("_", "-")
            print(f"faceline: {where or 'arguments'}: {harmless(problem['msg'])}", file=sys.stderr)
        return 2
    try:
        result = _do(command)
    except Refusal as error:
        print(f"faceline: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Ended) as stop:
        print(json.dumps({"interrupted": True}))  # what was committed stays; the same command goes on from there
        return _FROM_A_SIGNAL + int(stop.args[0] if isinstance(stop, Ended) else signal.SIGINT)
    if result is not None:
        print(json.dumps(result))
    return 0


def _log_to_stderr() -> None:
    keep_lines_whole()
    if sys.stderr.isatty():
        from flows.steps import CONSOLE

        handler: logging.Handler = RichHandler(console=CONSOLE, show_path=False, show_time=False)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    else:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "absl", "tf2onnx", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _parse(arguments: list[str]) -> BaseModel:
    source: CliSettingsSource = CliSettingsSource(Faceline, parse_args_method=_split)
    command = get_subcommand(CliApp.run(Faceline, cli_args=arguments or ["--help"], cli_settings_source=source))
    if isinstance(command, Models):
        command = get_subcommand(command, is_required=False) or _no_verb()
    assert isinstance(command, BaseModel)
    workspace = os.environ.get("FACELINE_WORKSPACE")
    if workspace and "workspace" in type(command).model_fields and "workspace" not in command.model_fields_set:
        command = command.model_copy(update={"workspace": workspace})
    return command


def _no_verb() -> NoReturn:
    print(f"faceline: models: say which: {', '.join(Models.model_fields)}", file=sys.stderr)
    raise SystemExit(2)


def _split(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """pydantic-settings would take `Holidays, 2020` for two folders, and stumble over quotes and line ends: it reads a
    list's words as pieces of JSON, unless they come as JSON."""
    parsed = parser.parse_args(arguments)
    for name, value in vars(parsed).items():
        if isinstance(value, list):
            setattr(parsed, name, json.dumps(value))
    return parsed


def _do(command: BaseModel) -> dict | None:
    module, name = _WORK[type(command)].split(":")
    work = getattr(import_module(module), name)
    return work(command, print) if isinstance(command, knobs.PredictSettings) else work(command)


if __name__ == "__main__":
    main()
