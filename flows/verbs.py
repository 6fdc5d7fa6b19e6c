"""The verbs of the command `faceline`, with their options, made from the settings, and the function behind each.

Stages are imported when they're asked for: `--help` should be quick."""

import json
import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, CliSubCommand, SettingsConfigDict, get_subcommand
from rich.logging import RichHandler

from flows.log_lines import keep_lines_whole
from storage import settings as knobs
from storage.refusal import harmless

Work = Callable[[], dict | None]
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


class WrongUsage(Exception):
    """Words that no command has; the message has a line for each."""


def prepare(arguments: list[str]) -> Work:
    """What the arguments ask for, ready to be called: all that it needs from the start is imported. Raises
    WrongUsage."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    _log_to_stderr()
    try:
        command = parse(arguments)
    except ValidationError as error:
        raise WrongUsage("\n".join(map(_in_words, error.errors()))) from error
    module, name = _WORK[type(command)].split(":")
    work = getattr(import_module(module), name)
    return partial(work, command, print) if isinstance(command, knobs.PredictSettings) else partial(work, command)


def _in_words(problem: ErrorDetails) -> str:
    where = " ".join(str(part) for part in problem["loc"][1:]).replace("_", "-")
    return f"faceline: {where or 'arguments'}: {harmless(problem['msg'].removeprefix('Value error, '))}"


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


def parse(arguments: list[str]) -> BaseModel:
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
