"""What every experiment has in common: parameters in, run records out."""

import dataclasses
import hashlib
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

from mtlutils import balancing, environment, folders, profiles, records
from mtlutils.balancing.balancer import Balancer
from mtlutils.errors import InputError
from mtlutils.experiments import estimate
from mtlutils.experiments.estimate import Work
from mtlutils.records import Data, Record
from mtlutils.training import Result

SINGLE_TASK = "single_task"
"""The method that trains one model a task."""


class Settings(BaseModel):
    """The parameters of an experiment, validated; each experiment has its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Run:
    """One run to be: it is found again by its path."""

    experiment: str
    method: str
    seed: int
    settings: Settings
    folder: Path
    stands_for: "Run | None" = None
    """The run of another experiment, which has a record, that this one with settings of its own makes."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The settings as they stand in the record."""
        return self.settings.model_dump(mode="json")

    @property
    def path(self) -> Path:
        """Where its record lies, from the project's root."""
        return records.path_for(self.folder, self.experiment, self.method, self.seed, self.parameters)

    def checkpoint(self, data: Data) -> Path:
        """Where its state lies while it is under way; other code, or other data, starts anew."""
        stem = (self.stands_for or self).path.stem
        origin = hashlib.sha256(f"{records.source_digest()}{data.model_dump_json()}".encode()).hexdigest()[:12]
        return folders.cache() / "checkpoints" / f"{stem}-{origin}.pt"

    def balancer(self, n_tasks: int, device: torch.device) -> Balancer:
        """Create its balancing method, on a device; a single-task run has one loss, and minimises that."""
        method = "equal" if self.method == SINGLE_TASK else self.method
        return balancing.create(method, n_tasks=n_tasks).to(device)

    @property
    def command(self) -> list[str]:
        """Arguments of ``python -m mtlutils`` that make this run alone."""
        where = ["--method", self.method, "--seed", str(self.seed), "--results", str(self.folder)]
        return ["run", self.experiment, *where, "--parameters", json.dumps(self.parameters, separators=(",", ":"))]


@dataclass(frozen=True)
class Experiment:
    """A named experiment.

    Attributes:
        name: The notebook's name.
        settings: The type of its parameters. One called ``tasks`` makes the method ``single_task`` possible.
        measure: Makes one run on a device; the checkpoint path is its to use.
        checksums: The checksums of the real data at hand, by the names that records have for them.
        threads: Threads of a run on a CPU. A fixed number gives the same record on any number of cores; small networks
            are fastest with one.
        studies: Names of what its notebook runs beside its main runs.
        work: Makes a training step to measure what a run will take, see :meth:`estimate`.
    """

    name: str
    settings: type[Settings]
    measure: Callable[[Run, torch.device], tuple[Data, Result]]
    checksums: Callable[[], dict[str, str]] = dict
    threads: int = 1
    studies: tuple[str, ...] = ()
    work: Callable[[Run, torch.device], Work] | None = None

    def plan(
        self, methods: Iterable[str], seeds: Iterable[int], *, results: str | Path = "", **parameters: Any
    ) -> list[Run]:
        """List runs: every method with every seed at the parameters.

        Args:
            methods: Names of balancing methods, with options in brackets if any, or ``"single_task"``, which is one
                run a task.
            seeds: Seeds of everything random in a run, from 0.
            results: Folder of the records, from the project's root; empty: a scratch folder.
            parameters: The experiment's settings; a list where a single value is due stands for each in turn.

        Raises:
            InputError: an unknown method or parameter, or a value that is not allowed.
        """
        folder = Path(results) if results else records.scratch()
        methods, seeds = _items("methods", methods), _items("seeds", seeds)
        parameters = {name: profiles.listed(value) for name, value in parameters.items()}
        fields = self.settings.model_fields
        lists = {
            name: value
            for name, value in parameters.items()
            if isinstance(value, list | tuple) and name in fields and not isinstance(fields[name].default, tuple)
        }
        runs = []
        for values in itertools.product(*lists.values()):
            settings = self._validated(parameters | dict(zip(lists, values, strict=True)))
            for method, seed in itertools.product(methods, seeds):
                if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
                    raise InputError(f"seeds: must be whole numbers from 0, got {seed!r}")
                name, each = self._expanded(method, settings)
                runs += [Run(self.name, name, seed, one, folder) for one in each]
        return list(dict.fromkeys(runs))

    def run(
        self, method: str, seed: int, *, results: str | Path = "", device: str = "auto", **parameters: Any
    ) -> Record:
        """Make one run, or load it where its record is there already.

        Raises:
            InputError: as :meth:`plan`; or the parameters stand for several runs.
        """
        runs = self.plan([method], [seed], results=results, **parameters)
        if len(runs) != 1:
            raise InputError(f"{method} at these parameters is {len(runs)} runs; name one task: tasks=['...']")
        return self._records(runs, device)[0]

    def runs(
        self,
        methods: Iterable[str],
        seeds: Iterable[int],
        *,
        results: str | Path = "",
        device: str = "auto",
        **parameters: Any,
    ) -> list[Record]:
        """Load the runs that there are records of and make the others, with a progress bar.

        Interrupted, the same call goes on where it was: finished runs are loaded, and one under way resumes at its
        last finished epoch.

        Args:
            methods: See :meth:`plan`; as ``seeds``, ``results`` and ``parameters``.
            seeds: See :meth:`plan`.
            results: See :meth:`plan`.
            device: ``"auto"``, or a PyTorch device. Not a parameter of the run: its record names what it ran on.
            parameters: See :meth:`plan`.
        """
        return self._records(self.plan(methods, seeds, results=results, **parameters), device)

    def run_study(self, parameters: Mapping[str, Any], study: str = "") -> list[Record]:
        """Load or make, as :meth:`runs`, what a notebook runs for one of its studies, given all its parameters.

        Args:
            parameters: Of the notebook; whatever else is among them is ignored, so that ``dict(globals())`` will do.
            study: A name as in :func:`mtlutils.profiles.of_study`; ``""``: the main runs.
        """
        return self._records(self.plan_study(parameters, study), parameters.get("device", "auto"))

    def plan_study(self, parameters: Mapping[str, Any], study: str = "") -> list[Run]:
        """List the runs of :meth:`run_study`."""
        asked = profiles.of_study(parameters, study)
        settings = {name: asked[name] for name in self.settings.model_fields if name in asked}
        return self.plan(asked["methods"], asked["seeds"], results=asked.get("results", ""), **settings)

    def plan_notebook(self, parameters: Mapping[str, Any]) -> list[Run]:
        """List every run that the notebook asks for, given its parameters: those of all its studies."""
        runs = [run for study in ("", *self.studies) for run in self.plan_study(parameters, study)]
        return list(dict.fromkeys(runs))

    def estimate(self, runs: Iterable[Run], device: str = "auto") -> str:
        """Say what the runs without a record will take on a device, from steps that are made to find out.

        Args:
            runs: From :meth:`plan` or :meth:`plan_notebook`.
            device: See :meth:`runs`.

        Raises:
            InputError: this experiment has no estimate.
        """
        missing = [run for run in runs if not (folders.project() / run.path).exists()]
        if not missing:
            return f"{self.name}: every run has its record; nothing is trained."
        if self.work is None:
            raise InputError(f"{self.name} has no estimate")
        torch.set_num_threads(self.threads)
        return f"{self.name}: {estimate.of(missing, self.work, environment.device(device))}"

    def _validated(self, parameters: dict[str, Any]) -> Settings:
        try:
            return self.settings(**parameters)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                raise InputError(
                    f"unknown parameter {name!r}; there are: {', '.join(self.settings.model_fields)}"
                ) from error
            if not name:  # what is wrong is not one parameter, but several that do not fit together
                raise InputError(first["msg"].removeprefix("Value error, ")) from error
            raise InputError(f"{name}: {first['msg']}, got {first['input']!r}") from error

    def _expanded(self, method: str, settings: Settings) -> tuple[str, list[Settings]]:
        name, options = balancing.parse(method)
        tasks = getattr(settings, "tasks", ())
        if name == SINGLE_TASK and tasks and not options:
            return name, [settings.model_copy(update={"tasks": (task,)}) for task in tasks]
        if name not in balancing.names():
            known = ", ".join([*balancing.names(), *([SINGLE_TASK] if tasks else [])])
            raise InputError(f"unknown method {method!r}; there are: {known}")
        balancing.create(method, n_tasks=max(len(tasks), 1))  # an option that is wrong is told before anything trains
        return balancing.label(name, options), [settings]

    def _records(self, runs: list[Run], device: str) -> list[Record]:
        found: dict[Run, Record] = {}
        for run in runs:
            path = folders.project() / run.path
            if path.exists():
                try:
                    found[run] = records.read(path)
                except records.RecordError as error:
                    warnings.warn(f"{error}; it is made again", stacklevel=3)
        self._warn_of_other_data(found.values())
        missing = [run for run in runs if run not in found]
        if not missing:
            return [found[run] for run in runs]
        place = environment.device(device)
        torch.set_num_threads(self.threads)
        self._warn_of_slow_precision(missing, place)
        with tqdm(total=len(missing), desc=self.name, unit="run", delay=2, file=sys.stderr) as bar:
            for run in missing:
                bar.set_postfix_str(f"{run.method}, seed {run.seed}", refresh=False)
                found[run] = self._measured(run, place)
                bar.update()
        return [found[run] for run in runs]

    def _measured(self, run: Run, device: torch.device) -> Record:
        started = datetime.now(UTC)
        data, result = self.measure(run, device)
        parts = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        predictions = parts.pop("predictions")
        record = Record(
            experiment=run.experiment,
            method=run.method,
            seed=run.seed,
            parameters=run.parameters,
            data=data,
            environment=environment.describe(device),
            source=records.source(),
            started=started,
            **parts,
        )
        records.write(record, folders.project() / run.folder, predictions)
        run.checkpoint(data).unlink(missing_ok=True)
        return record

    def _warn_of_slow_precision(self, missing: Iterable[Run], device: torch.device) -> None:
        if any(run.parameters.get("precision") == "bf16" for run in missing) and not environment.has_bf16(device):
            warnings.warn(
                "this processor has no instructions for bf16, and takes several times as long with it as with fp32; "
                "set `precision` to fp32 unless runs must have the settings of the committed ones",
                stacklevel=4,
            )

    def _warn_of_other_data(self, found: Iterable[Record]) -> None:
        real = [record for record in found if record.data.kind == "real"]
        at_hand = self.checksums() if real else {}  # reads all the data
        other = next((r for r in real if any(at_hand.get(k, v) != v for k, v in r.data.checksums.items())), None)
        if other is not None:
            warnings.warn(
                f"the records were made on other files than those at hand ({other.data.description}); "
                "set `results` to a folder of your own to train on yours",
                stacklevel=4,
            )


def _items(name: str, value: Any) -> list[Any]:
    value = profiles.listed(value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(f"{name}: must be a list, got {value!r}")
    return list(value)
