"""The command `faceline`: each verb does what the deployment of its name does, without a server.

The last line on stdout is one JSON object of counts; progress and logs go to stderr. Exit status 0: done (files that
failed have their rows), 1: the work could not be done, 2: wrong usage. Stages are imported when they're asked for:
worker processes import this file too, and `--help` should be quick."""

import json
import logging
import os
import signal
import sys
from typing import NoReturn

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, SettingsConfigDict, get_subcommand
from rich.logging import RichHandler

from storage import settings as knobs
from storage.refusal import Refusal

_FROM_A_SIGNAL = 128  # exit statuses above it, as shells have them
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}  # TensorFlow's start-up lines help nobody


class ListModels(knobs.StageSettings):
    """List the models of a workspace, with their figures."""


class ShowModel(knobs.StageSettings):
    """Print a model's card."""

    version: knobs.CliPositionalArg[str] = Field(description="a registry version, champion or pretrained")


class Models(BaseModel):
    """List, show and promote models."""

    list: CliSubCommand[ListModels]
    show: CliSubCommand[ShowModel]
    promote: CliSubCommand[knobs.PromoteSettings]


class Doctor(knobs.StageSettings):
    """Print versions, and the devices and providers that really work."""


class Faceline(BaseSettings):
    """Folders of photographs into an age-and-gender model, and that model into scored, reviewable tables."""

    model_config = SettingsConfigDict(
        cli_prog_name="faceline",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        env_prefix="FACELINE_CLI_",
    )
    extract: CliSubCommand[knobs.ExtractSettings]
    label: CliSubCommand[knobs.LabelSettings]
    train: CliSubCommand[knobs.TrainSettings]
    export: CliSubCommand[knobs.ExportSettings]
    evaluate: CliSubCommand[knobs.EvaluateSettings]
    score: CliSubCommand[knobs.ScoreSettings]
    predict: CliSubCommand[knobs.PredictSettings]
    retrain: CliSubCommand[knobs.RetrainSettings]
    models: CliSubCommand[Models]
    review: CliSubCommand[knobs.ReviewSettings]
    doctor: CliSubCommand[Doctor]
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
            print(f"faceline: {where or 'arguments'}: {problem['msg']}", file=sys.stderr)
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
    if sys.stderr.isatty():
        from flows.steps import CONSOLE

        handler: logging.Handler = RichHandler(console=CONSOLE, show_path=False, show_time=False)
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    else:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "absl", "tf2onnx", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _parse(arguments: list[str]) -> BaseModel:
    command = get_subcommand(CliApp.run(Faceline, cli_args=arguments or ["--help"]))
    if isinstance(command, Models):
        command = get_subcommand(command)
    assert isinstance(command, BaseModel)
    workspace = os.environ.get("FACELINE_WORKSPACE")
    if workspace and "workspace" in type(command).model_fields and "workspace" not in command.model_fields_set:
        command = command.model_copy(update={"workspace": workspace})
    return command


def _do(command: BaseModel) -> dict | None:
    match command:
        case knobs.ExtractSettings():
            from flows.extract import extract_folders
            from flows.steps import threads

            with threads() as submit:
                return extract_folders(command, submit)
        case knobs.LabelSettings():
            from flows.label import label_photos

            return label_photos(command)
        case knobs.ScoreSettings():
            from flows.score import score_folders
            from flows.steps import threads

            with threads() as submit:
                return score_folders(command, submit)
        case knobs.RetrainSettings():
            from flows.retrain import retrain_model

            return retrain_model(command)
        case knobs.TrainSettings():
            from flows.train import train_model

            return train_model(command)
        case knobs.ExportSettings():
            from flows.export import export_run

            return export_run(command)
        case _:
            return _do_small(command)


def _do_small(command: BaseModel) -> dict | None:
    match command:
        case knobs.EvaluateSettings():
            from flows.evaluate import evaluate_model

            return evaluate_model(command)
        case knobs.PredictSettings():
            from flows.predict import predict_photos

            return predict_photos(command, print)
        case knobs.PromoteSettings():
            from flows.evaluate import promote_model

            return promote_model(command)
        case knobs.ReviewSettings():
            from flows.review_server import serve

            return serve(command)
        case knobs.DemoSettings():
            from flows.demo import run_demo

            return run_demo(command)
        case ListModels():
            from flows.inventory import list_models

            return list_models(command.workspace)
        case ShowModel():
            from flows.inventory import show_card

            return show_card(command.workspace, command.version)
        case Doctor():
            from flows.inventory import examine

            return examine(command.workspace)
        case _:
            raise AssertionError(command)


if __name__ == "__main__":
    main()
