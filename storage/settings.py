"""Every knob: its default, its limits and its help text, once. The command line, Prefect's form and the docs are
made from these classes; each is frozen and refuses unknown keys, so a misspelt parameter fails before any work."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict

from storage.choices import DetectorName, Device, FaceMode, Frozen, Recipe, Targets
from storage.values import MOST_PIXELS

Runner = Literal["embedded", "dask", "ray"]
NetworkName = Literal["vgg16", "fast"]


def _named(given: str) -> str:
    """A shell's unset variable leaves an empty word, which is the current folder to Python."""
    if not given:
        raise ValueError("empty: is a variable not set?")
    return given


def _said(given: str) -> str:
    if not given.strip():
        raise ValueError("blank: say why, for the registry's log")
    return given.strip()


Named = Annotated[str, AfterValidator(_named)]  # with a constraint, pydantic takes no name that isn't UTF-8
_VERSIONS = "a registry version, latest, champion, pretrained, fast"
_MODELS = f"{_VERSIONS}, or an .onnx file"
_TABLES = (".csv", ".parquet")
_DEVICE = "cuda and tensorrt fail where they don't really run"


class StageSettings(Frozen):
    workspace: Named = Field(
        default="./workspace", description="folder or object-store URL of the tables, made when missing"
    )


class ReviewsPlace(BaseSettings):
    """From the environment alone, as its password would show among a command's options and a flow's parameters."""

    model_config = SettingsConfigDict(env_prefix="FACELINE_", env_ignore_empty=True, frozen=True)
    reviews_url: SecretStr | None = Field(
        default=None, description="postgresql://USER:PASSWORD@HOST/DATABASE; unset: reviews.sqlite in the workspace"
    )


class PhotoSettings(StageSettings):
    folders: CliPositionalArg[list[Named]] = Field(
        min_length=1, description="folders of photos, or s3://BUCKET/PREFIX, searched recursively"
    )
    faces: FaceMode = Field(default="detect", description="find faces, or take each picture as one face")
    detector: DetectorName = Field(default="centerface", description="yunet needs its model file too")
    detector_model: Named | None = Field(default=None, description="file of YuNet's model")
    fetch_detector: bool = Field(default=False, description="download YuNet from its publisher, checked by SHA-256")
    detect_side: int = Field(
        default=640,
        ge=64,
        description="the detector sees photos at most this long, in pixels; more finds smaller faces, slower",
    )
    turns: bool = Field(
        default=True,
        description="look at photos without an upright face turned by 90, 180 and 270 degrees too (not with haar)",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="processes that read photos; unset: one a core, on a cluster one a thread or CPU of its workers",
    )
    runner: Runner = Field(default="embedded", description="this machine, or a Dask or Ray cluster that runs already")
    address: str | None = Field(default=None, description="of the cluster: tcp://HOST:8786 (Dask), ray://HOST:10001")
    photo_timeout_s: float = Field(default=20, gt=0, description="seconds that one photo may take")
    max_pixels: int = Field(
        default=100_000_000, gt=0, le=MOST_PIXELS, description="photos with more pixels are too_large"
    )
    max_bytes: int = Field(default=200_000_000, gt=0, description="files with more bytes are too_large")
    worker_memory_mb: int = Field(default=4096, ge=1024, description="memory that one worker may use")
    chunk_files: int = Field(default=512, ge=1, le=20_000, description="files that are committed together")
    settle_s: float = Field(
        default=0,
        ge=0,
        description="files that changed within so many seconds are still growing: left for the next run",
    )

    @model_validator(mode="after")
    def _cluster_has_an_address(self) -> Self:
        if (self.runner == "embedded") != (self.address is None):
            raise ValueError("--address goes with --runner dask or ray, and they with it")
        return self


class ExtractSettings(PhotoSettings):
    """Find the faces in folders of photos and store them, with labels where the photos have some."""

    labels: Named | None = Field(
        default=None,
        description="wiki (id_dob_year names), utkface (age_gender_race names), or a table",
    )


class LabelSettings(StageSettings):
    """Read labels for photos that were extracted already."""

    folders: CliPositionalArg[list[Named]] = Field(
        min_length=1, description="folders of photos, as they were extracted"
    )
    labels: Named = Field(description="wiki, utkface, or a .csv or .parquet table")


class TrainSettings(StageSettings):
    """Fine-tune VGG16 on the labelled faces of a workspace."""

    targets: Targets = Field(default="age+gender", description="what to learn")
    recipe: Recipe = Field(default="distribution", description="classic is the original's: linear age, squared error")
    network: NetworkName = Field(
        default="vgg16",
        description="fast: VGG16 cut down to a sixth of its time; it learns from the model --trunk",
    )
    trunk: str = Field(
        default="auto",
        description=f"what to start from: imagenet, pretrained (auto), {_MODELS}, or a .weights.h5 file",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(default="auto", description="gpu fails where TensorFlow sees none")
    unfrozen_blocks: int = Field(default=1, ge=1, le=2, description="VGG16's last blocks to tune; the rest is cached")
    copies: int = Field(
        default=2, ge=1, le=8, description="cached copies of each face: one plain, the others augmented"
    )
    epochs: int = Field(default=12, ge=1, le=500, description="at most; early stopping ends sooner")
    patience: int = Field(default=3, ge=1, description="epochs without a better validation loss before it stops")
    batch: int = Field(default=64, ge=2, le=4096, description="faces a step")
    block_rate: float = Field(default=3e-5, gt=0, description="learning rate of the unfrozen blocks; fast: 3e-4")
    head_rate: float = Field(default=1e-3, gt=0, description="learning rate of the heads")
    balance: float = Field(
        default=0.3, ge=0, le=1, description="how much more often rare ages and genders are seen; 0: as they come"
    )
    half: bool = Field(default=False, description="compute in bfloat16: about twice as fast where the processor has it")
    min_face_side: int = Field(default=32, ge=1, description="faces whose box is smaller, in pixels, aren't trained on")
    resume: str | None = Field(
        default=None, pattern=r"^train-[\w-]+$", description="go on with this stopped run; give the same settings"
    )
    seed: int = Field(default=0, ge=0, description="of the augmentation and the training")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_fast(cls, given: Any) -> Any:
        """The fast network has more to learn back, and larger weights."""
        of_fast = isinstance(given, dict) and given.get("network") == "fast"
        return {"unfrozen_blocks": 2, "block_rate": 3e-4} | given if of_fast else given

    @property
    def starts_from(self) -> str:
        """`trunk`, and what `auto` stands for: the shipped model, which knows faces already."""
        return "pretrained" if self.trunk == "auto" else self.trunk


class CardSettings(StageSettings):
    """What a model's card says beside its figures."""

    data: str = Field(default="Photos of the workspace's owner.", description="for the card: what it was trained on")
    robustness_faces: int = Field(
        default=200, ge=0, description="faces that are degraded in 24 ways, for the card: about a second each; 0: none"
    )
    licence: str = Field(default="not stated", description="for the card: the terms of the model and of its photos")


class ExportSettings(CardSettings):
    """Turn a training run into one checked, self-contained ONNX file in the registry."""

    run: CliPositionalArg[str] = Field(description="a training run's name, or `latest`")
    int8: bool = Field(
        default=False, description="compute in 8 bits: about three times as fast, at a cost that the card tells"
    )
    device: Literal["auto", "cpu"] = Field(default="auto", description="what the file is checked and measured on")


class ScoreSettings(PhotoSettings):
    """Score every face in folders of photos; what is scored already is skipped."""

    model: str = Field(default="champion", description=_MODELS)
    device: Device = Field(default="auto", description=_DEVICE)
    batch: int | None = Field(
        default=None, ge=1, le=4096, description="crops an inference call; unset: 16 a core, with cuda as many as pay"
    )
    keep_crops: bool = Field(default=True, description="store the crops; without them, review shows no pictures")


class PredictSettings(Frozen):
    """Print one JSON line a photo; nothing is stored."""

    photos: CliPositionalArg[list[Named]] = Field(min_length=1, description="photo files")
    model: str = Field(default="pretrained", description=f"{_MODELS}; the first three with --workspace")
    workspace: Named | None = Field(default=None, description="where versions, latest and champion are looked up")
    device: Device = Field(default="auto", description=_DEVICE)
    faces: FaceMode = Field(default="detect", description="find faces, or take each picture as one face")


class EvaluateSettings(StageSettings):
    """Measure a model on labelled faces of the workspace, or a table of any model's answers, by age band and group."""

    model: str = Field(default="champion", description=_MODELS)
    split: str | None = Field(
        default="test", description="value of the labels' or the table's column split; None: every labelled face"
    )
    table: Named | None = Field(
        default=None,
        description=".csv or .parquet with true_age, true_gender and any model's age, age_low, age_high, female or "
        "gender, in the place of a workspace; further columns are groups",
    )
    report: Named | None = Field(
        default=None, description="folder for the page and the figures; unset: evaluations/ in the workspace"
    )
    device: Device = Field(default="auto", description=_DEVICE)

    @model_validator(mode="after")
    def _table_has_no_workspace(self) -> Self:
        if self.table is not None and self.report is None:
            raise ValueError("a table is in no workspace: say with --report FOLDER where the evaluation goes")
        return self


class RetrainSettings(TrainSettings, CardSettings):
    """Report on the labels, train, export, and promote the new model if it is better on the same test rows."""


class PromoteSettings(StageSettings):
    """Make a version the champion, if it beats the present one on the same test rows."""

    version: CliPositionalArg[str] = Field(description=_VERSIONS)
    force: Annotated[str, AfterValidator(_said)] | None = Field(
        default=None, description="promote it anyway; the reason, kept in the registry's log"
    )


class CompareSettings(StageSettings):
    """Compare two models on the same labelled faces, or two tables of any models' answers."""

    before: CliPositionalArg[str] = Field(
        description=f"{_MODELS}; or a .csv or .parquet table as for `evaluate`, with a column path or file_hash"
    )
    after: CliPositionalArg[str] = Field(description="the model, or the table, to compare with it")
    split: str | None = Field(
        default="test", description="value of the labels' or the tables' column split; None: every labelled face"
    )
    device: Device = Field(default="auto", description=_DEVICE)

    @property
    def are_tables(self) -> bool:
        return self.before.endswith(_TABLES)

    @model_validator(mode="after")
    def _both_are_of_a_kind(self) -> Self:
        if self.before.endswith(_TABLES) != self.after.endswith(_TABLES):
            raise ValueError("one is a table and the other a model: `faceline evaluate` measures each for itself")
        return self


class ListModelsSettings(StageSettings):
    """List the models of a workspace, with their figures."""


class ShowModelSettings(StageSettings):
    """Print a model's card."""

    version: CliPositionalArg[str] = Field(description=_VERSIONS)


class DoctorSettings(StageSettings):
    """Print versions, and the devices and providers that really work; or look for damage in the workspace."""

    verify: bool = Field(default=False, description="compare the tables with their checksums, and name what is damaged")
    repair: bool = Field(
        default=False, description="verify, and take out what is damaged; the next run makes lost rows again"
    )


class ForgetSettings(StageSettings):
    """Delete photos, or a person's, from everything in the workspace, for good."""

    photos: CliPositionalArg[list[Named]] = Field(default=[], description="photo files, or the SHA-256 of photos")
    subject: Named | None = Field(default=None, description="a subject_id of the labels: each photo of that person")
    reason: str | None = Field(default=None, description="kept in the audit log, so it should name nobody")
    dry_run: bool = Field(default=False, description="say what would be deleted, and change nothing")

    @model_validator(mode="after")
    def _somebody_is_named(self) -> Self:
        if not self.photos and self.subject is None:
            raise ValueError("name photos, by path or SHA-256, or a person with --subject")
        return self


class AuditSettings(StageSettings):
    """List who reviewed, promoted and forgot, when, and why."""

    days: int | None = Field(default=None, ge=1, description="of the last so many days; unset: ever")


class CompactSettings(StageSettings):
    """Merge the tables' small files, and delete from disk what isn't in them any more."""


class DataReportSettings(StageSettings):
    """Report on the labels before training: how many, for whom, twice, in conflict or suspicious; with warnings."""

    model: str = Field(
        default="pretrained",
        description=f"judges the labels: {_MODELS}; not one that was trained on them, which has learnt their mistakes",
    )
    check_labels: bool = Field(default=True, description="let the model judge the labels; without, it takes seconds")
    device: Device = Field(default="auto", description=_DEVICE)
    years_apart: float = Field(
        default=2, ge=0, description="labels of one shot whose ages differ by more contradict each other"
    )
    targets: Targets = Field(default="age+gender", description="what is to be learnt, for the warnings")
    min_face_side: int = Field(default=32, ge=1, description="faces whose box is smaller, in pixels, aren't trained on")


class ReviewSettings(StageSettings):
    """Serve the review pages on this machine."""

    port: int = Field(default=8501, ge=1024, le=65535, description="on 127.0.0.1")
    read_only: bool = Field(default=False, description="look only: nothing can be reviewed or promoted")


class HealthSettings(StageSettings):
    """Report the last day's failures, disk space and drift; compact the tables; delete what is over its term."""

    min_free_gb: float = Field(default=5, ge=0, description="less free disk space than this, in GB, is a warning")
    retention_days: int | None = Field(
        default=None, ge=1, description="rows and crops older than this are deleted for good; unset: kept"
    )


class DeploySettings(StageSettings):
    """Put the deployments, with their pools, limits and automations, on the Prefect server of PREFECT_API_URL."""

    inbox: Named = Field(default="./inbox", description="folder whose photos are scored each night, made when missing")
    device: Literal["auto", "cpu", "gpu"] = Field(default="auto", description="what the pool `gpu` trains on")
    deployments: Named | None = Field(
        default=None, description="file like prefect.yaml; unset: ./prefect.yaml, or else the one of Faceline"
    )
    notify: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        description="Prefect block that is told of failures and warnings, as TYPE/NAME: slack-webhook/faceline",
    )
    silence_s: int = Field(
        default=240, ge=75, description="a run whose heartbeats (every 30 s) stop for so long is marked as crashed"
    )


class UpSettings(DeploySettings):
    """Run Prefect's server, its workers and the review pages on this machine, with the deployments, until Ctrl-C."""

    port: int = Field(default=4200, ge=1024, le=65535, description="of Prefect's page, on 127.0.0.1")
    review_port: int = Field(default=8501, ge=1024, le=65535, description="of the review pages, on 127.0.0.1")
    pools: list[Literal["default-cpu", "gpu"]] = Field(
        default=["default-cpu", "gpu"], description="work pools that get a worker on this machine"
    )
    home: Named | None = Field(
        default=None, description="folder of Prefect's database, the password and logs; unset: WORKSPACE/service"
    )


class DemoSettings(Frozen):
    """The whole way on a few sample photos, on the CPU."""

    folder: Named = Field(default="./demo-workspace", description="made anew each time: photos, tables and models")
