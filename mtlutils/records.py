"""Run records: the parameters, numbers and provenance of one run, in one JSON file.

Needs no torch, so that reports are made where nothing is trained.
"""

import hashlib
import json
import re
import subprocess
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from mtlutils import folders
from mtlutils.errors import InputError

TIMING = "timing/"
"""What the names of a run's costs begin with where they stand beside its metrics (see :attr:`Record.numbers`)."""


class RecordError(InputError):
    """A run record is missing, broken or foreign."""


class _Model(BaseModel):
    # Numbers that are not finite become null, which JSON has; a diverged run is marked by its status.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Data(_Model):
    """What a run was trained and tested on."""

    name: str = Field(description="Name of the data set")
    kind: Literal["real", "stand-in", "none"] = Field(description="none: a measurement that needs no data set")
    description: str = Field(description="One line for a reader: which files, how many rows, official or not")
    checksums: dict[str, str] = Field(description="File name or generator -> algorithm:digest")
    sizes: dict[str, int] = Field(description="Split -> number of items")


class Environment(_Model):
    """What a run ran on."""

    device: str = Field(description="Name of the processor or accelerator")
    threads: int = Field(description="Threads that PyTorch used on the CPU")
    platform: str = Field(description="Operating system and machine type")
    versions: dict[str, str] = Field(description="Python's and the libraries' versions")


class Source(_Model):
    """The code that made a run."""

    commit: str | None = Field(description="Git commit; null outside a checkout")
    dirty: bool | None = Field(description="Whether tracked files of the package differed from that commit")
    digest: str = Field(description="Digest of the package's source files")


class Timing(_Model):
    """Cost of a run, over all its parts where it was interrupted."""

    total_seconds: float = Field(description="Wall time, with evaluation")
    seconds_per_step: float | None = Field(description="Mean wall time of one optimiser step, without evaluation")
    processor_seconds_per_step: float | None = Field(
        None, description="The same in processor time, of all threads; null on an accelerator"
    )
    steps: int = Field(description="Steps taken, one a batch")
    peak_memory_bytes: int | None = Field(description="Accelerator: peak allocated; CPU: peak resident of the process")
    step_memory_bytes: int | None = Field(
        None, description="CPU, where that was asked for: peak of what PyTorch allocated during one step"
    )


class Record(_Model):
    """One run: one experiment, one method, one seed, one set of parameters."""

    schema_version: Literal[1] = 1
    experiment: str = Field(description="Name of the experiment, which is its notebook's name")
    method: str = Field(description="Name of the method, with its options in brackets")
    seed: int
    parameters: dict[str, JsonValue] = Field(description="Every other parameter of the experiment")
    data: Data
    status: Literal["completed", "diverged"]
    message: str = Field(description="Why a run ended early; empty where it did not")
    selected_epoch: int | None = Field(description="Epoch, from 1, that the metrics are taken from")
    curves: dict[str, list[float | None]] = Field(description="Name -> one value an epoch")
    metrics: dict[str, float | None] = Field(description="Name -> final value; null where the run diverged")
    traces: dict[str, list[float | None]] = Field({}, description="Name -> one value a step, where that was asked for")
    timing: Timing
    environment: Environment
    source: Source
    started: AwareDatetime = Field(description="Start of the run, UTC")

    @property
    def key(self) -> str:
        """The run's key, from which its file is found again."""
        return key(self.experiment, self.method, self.seed, self.parameters)

    @property
    def numbers(self) -> dict[str, float | None]:
        """The metrics and, as ``timing/NAME``, what the run cost."""
        return self.metrics | {f"{TIMING}{name}": value for name, value in self.timing}

    def outcome(self) -> dict[str, Any]:
        """The part that the same parameters, seed and device give again to the bit (no times, no provenance)."""
        return self.model_dump(mode="json", exclude={"timing", "environment", "source", "started"})


def key(experiment: str, method: str, seed: int, parameters: dict[str, Any]) -> str:
    """Return a key of 12 hexadecimal digits made from what identifies a run."""
    text = json.dumps([experiment, method, seed, parameters], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def path_for(folder: Path, experiment: str, method: str, seed: int, parameters: dict[str, Any]) -> Path:
    """Return where the record of a run lies in ``folder``."""
    name = re.sub(r"[^\w]+", "-", method).strip("-")
    return folder / experiment / f"{name}-seed{seed}-{key(experiment, method, seed, parameters)}.json"


def committed() -> Path:
    """Folder of the committed records."""
    return folders.project() / "results"


def scratch() -> Path:
    """Folder of records that nobody asked to keep; a change of the package's source starts an empty one."""
    return folders.cache() / "records" / source_digest()


def write(record: Record, folder: Path, predictions: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write a record atomically and return its path.

    Args:
        record: The record.
        folder: Folder of records.
        predictions: Name -> array, to be found again by :func:`predictions`.

    Raises:
        RecordError: the file cannot be written, for example because the disk is full.
    """
    path = path_for(folder, record.experiment, record.method, record.seed, record.parameters)
    # By way of pydantic's own JSON, which alone knows of `ser_json_inf_nan`.
    text = json.dumps(json.loads(record.model_dump_json()), indent=1, sort_keys=True, allow_nan=False)
    # One line a curve: a record stays small and its diff readable. No string holds a line break as such.
    text = re.sub(r"\[\n\s+([^\[\]{}\"]*?)\n\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    try:
        if predictions:  # first: a record that is there is complete
            with folders.replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **predictions)  # type: ignore[arg-type]  # numpy's stub takes them for options
        with folders.replacing(path) as temporary:
            temporary.write_text(text + "\n")
    except OSError as error:
        raise RecordError(
            f"{path}: the record cannot be written ({error.strerror}); free space or change `results`"
        ) from error
    return path


def read(path: Path) -> Record:
    """Read and validate one record.

    Raises:
        RecordError: the file is missing, broken, or is not the record that its name says.
    """
    try:
        record = Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise RecordError(
            f"{path}: not a valid run record ({reason}); restore it, or delete it to run it again"
        ) from error
    if not path.stem.endswith(f"-{record.key}"):
        raise RecordError(f"{path}: its parameters give the key {record.key}, not the one in its name; restore it")
    return record


def predictions(record: Record, folder: Path) -> dict[str, np.ndarray]:
    """Read the predictions that were kept beside a record in ``folder``; empty where none were.

    Raises:
        RecordError: the file is broken.
    """
    path = path_for(folder, record.experiment, record.method, record.seed, record.parameters).with_suffix(".npz")
    if not path.exists():
        return {}
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path}: cannot be read ({error}); restore it, or delete it and its record") from error


def read_all(folder: Path, experiment: str | None = None) -> tuple[list[Record], list[RecordError]]:
    """Read every record below ``folder`` (of one experiment, if given), sorted by path.

    Returns:
        The valid records, and an error for each file that is not one: a broken file stops nobody else.
    """
    good, bad = [], []
    for path in sorted((folder / experiment if experiment else folder).glob("**/*.json")):
        try:
            good.append(read(path))
        except RecordError as error:
            bad.append(error)
    return good, bad


def schema() -> str:
    """The JSON schema of a record, as it is committed in ``record.schema.json``."""
    return json.dumps(Record.model_json_schema(mode="serialization"), indent=1, sort_keys=True) + "\n"


@cache
def source_digest() -> str:
    """Digest (12 hexadecimal digits) of the package's source files: what ran, also where git cannot say."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def source() -> Source:
    """Describe the code that is running."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(folders.project()), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    status = git("status", "--porcelain", "--untracked-files=no", "--", "mtlutils")
    return Source(
        commit=git("rev-parse", "HEAD"), dirty=None if status is None else bool(status), digest=source_digest()
    )
