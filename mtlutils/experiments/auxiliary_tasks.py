"""Schemes for auxiliary tasks (Vafaeikia et al. 2020), where it is known which of these help the main task."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from mtlutils import training
from mtlutils.autosem import InTurns, MixingRatios, Ratios, TaskSelection
from mtlutils.balancing.balancer import Balancer
from mtlutils.data import auxiliary_standin, multi_mnist
from mtlutils.data.images import ImageSplit
from mtlutils.errors import InputError
from mtlutils.experiments import single_step_multimnist
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.losses import supervised_twice
from mtlutils.models import GatedSharing, MultiTaskModel, SupervisedTwice, in_stages, lenet, mlp
from mtlutils.records import Data
from mtlutils.task_losses import stacked

Dataset = Literal["generated", "pairs"]

TASKS: dict[Dataset, tuple[str, ...]] = {
    "generated": auxiliary_standin.TASKS,
    "pairs": ("bottom-right", "top-left", "random"),
}
"""The main task of each data set, then the auxiliary ones, the better first."""

_generate = lru_cache(maxsize=4)(auxiliary_standin.load)
_compose = lru_cache(maxsize=1)(multi_mnist.load)


class AuxiliarySettings(Settings):
    """Parameters of a run."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: pairs of the images below MTLUTILS_DATA")
    dataset: Dataset = Field("generated", description="pairs: clothes bottom-right, digits top-left")
    auxiliary: Literal["all", "none", "helpful", "useless", "harmful", "top-left", "random"] = Field(
        "all", description="Auxiliary tasks beside the main one"
    )
    architecture: Literal["hard_sharing", "gated_sharing", "auxiliary_modules"] = "hard_sharing"
    output: Literal["common", "own"] = Field(
        "common", description="Whether tasks have the last layer in common or each one of its own"
    )
    scheme: Literal["none", "task_selection", "mixing_ratios", "autosem"] = Field(
        "none", description="In the place of a balancing method: AutoSeM's first stage, its second one, or both"
    )
    train_items: Annotated[int, Field(ge=1)] = Field(60, description="Training rows or pairs")
    evaluated_items: Annotated[int, Field(ge=1)] = Field(1000, description="For validation, and for test")
    noise: Annotated[float, Field(ge=0)] = Field(1.0, description="Standard deviation, of the generated main task")
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 20
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="Of SGD")
    decay: Annotated[float, Field(ge=0, le=1)] = Field(0.3, description="Of the first stage's memory; as published")
    reward_batches: Annotated[int, Field(ge=1)] = Field(1, description="Batches between rewards in the first stage")
    evaluations: Annotated[int, Field(ge=1)] = Field(12, description="Ratios that the second stage tries")
    largest: Annotated[int, Field(ge=1)] = Field(3, description="Largest number in a ratio")

    @property
    def names(self) -> tuple[str, ...]:
        """The main task and the auxiliary ones of this run."""
        main, *others = TASKS[self.dataset]
        return main, *(others if self.auxiliary == "all" else [each for each in others if each == self.auxiliary])

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.auxiliary not in ("all", "none", *TASKS[self.dataset][1:]):
            raise ValueError(f"{self.dataset} has no auxiliary task {self.auxiliary}; choose another")
        if self.dataset == "generated" and self.data == "real":
            raise ValueError("generated data are no real ones; set data to stand-in, or dataset to pairs")
        if self.scheme != "none" and len(self.names) < 2:
            raise ValueError(f"{self.scheme} needs an auxiliary task; set auxiliary to all")
        return self


@dataclasses.dataclass(frozen=True)
class _Bound:
    """A run's data, and what depends on them."""

    splits: dict[Literal["train", "validation", "test"], training.Split]
    description: Data
    body: Callable[[], MultiTaskModel]
    """Makes the network with a head of its own for each task."""
    ends: tuple[int, ...]
    """Where the encoder's stages end, see :func:`mtlutils.models.in_stages`."""
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: "Mapping[str, training.MetricCollection]"


def _bind(settings: AuxiliarySettings, seed: int, device: torch.device) -> _Bound:
    from mtlutils import metrics  # torchmetrics takes seconds to import

    sizes = settings.train_items, settings.evaluated_items, settings.evaluated_items
    if settings.dataset == "generated":
        data = _generate(*sizes, noise=settings.noise, seed=seed, device=device)
        body = partial(mlp, data.train.inputs.shape[1], dict.fromkeys(settings.names, 1))
        parts: dict[Literal["train", "validation", "test"], training.Split]
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        return _Bound(parts, data.description, body, (), mse_loss, {})
    pairs = _compose(settings.data, "fashion_and_mnist", *sizes, device)
    parts = {
        "train": _with_random_classes(pairs.train, 0),
        "validation": _with_random_classes(pairs.validation, 1),
        "test": _with_random_classes(pairs.test, 2),
    }
    classes = dict.fromkeys(settings.names, 10)
    of_tasks = {task: metrics.classification(10).to(device) for task in classes}
    return _Bound(parts, pairs.description, partial(lenet, classes), (3, 6), cross_entropy, of_tasks)


def _with_random_classes(split: ImageSplit, seed: int) -> ImageSplit:
    """Add a task that has nothing to do with the images. Its classes are the same for every run."""
    random = torch.from_numpy(np.random.default_rng(seed).integers(10, size=len(split)))
    return dataclasses.replace(split, targets=split.targets | {"random": random.to(split.images.device)})


class _WatchedGates(GatedSharing):
    """Notes after every epoch how much the first task borrows from each of the others, by the mean over units."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.course: list[list[float]] = []

    def end_epoch(self) -> None:
        units = self.encoder.get_submodule("units").children()
        weights = [unit.get_parameter("weights")[0] for unit in units]  # (T - 1,) each
        if weights:
            self.course.append(torch.stack(weights).mean(dim=0).tolist())


def _build(settings: AuxiliarySettings, bound: _Bound, example: tuple[Any, ...]) -> MultiTaskModel:
    body = bound.body()
    heads: dict[str, nn.Module] = dict(body.heads.items())
    if settings.output == "common":
        heads = dict.fromkeys(heads, heads[settings.names[0]])
    encoder = body.encoder
    assert isinstance(encoder, nn.Sequential)
    if settings.architecture == "hard_sharing":
        if settings.output == "own":
            return body
        # Gradient methods then see the common output as the shared layer that it is.
        return MultiTaskModel(
            nn.Sequential(*encoder, heads[settings.names[0]]), {task: nn.Identity() for task in heads}
        )

    def stages() -> nn.Module:
        new = bound.body().encoder
        assert isinstance(new, nn.Sequential)
        return in_stages(new, bound.ends)

    if settings.architecture == "gated_sharing":
        return _WatchedGates(stages, heads, example=example)
    return SupervisedTwice(stages, heads, example=example)


def _measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    settings = run.settings
    assert isinstance(settings, AuxiliarySettings)
    if settings.scheme != "none" and run.method != "equal":
        raise InputError(f"{settings.scheme} is no balancing method, and needs the method equal, not {run.method}")
    bound = _bind(settings, run.seed, device)
    example, _ = next(bound.splits["train"].batches(2))
    tasks = settings.names
    losses = dict.fromkeys(tasks, supervised_twice(bound.loss))

    def start() -> MultiTaskModel:
        torch.manual_seed(run.seed)
        return _build(settings, bound, example).to(device)

    @torch.no_grad()
    def validate(model: MultiTaskModel) -> float:
        """Return the main task's validation loss."""
        was_training = model.training
        model.eval()
        main, validation, total = {tasks[0]: losses[tasks[0]]}, bound.splits["validation"], 0.0
        for inputs, targets in validation.batches(max(settings.batch_size, 1024)):
            total += len(targets[tasks[0]]) * stacked(main, model(*inputs, tasks=main), targets).item()
        model.train(was_training)
        return total / len(validation)

    def train(model: MultiTaskModel, balancer: Balancer, *parts: str, **options: Any) -> training.Result:
        return training.train(
            model=model,
            balancer=balancer,
            optimizer=torch.optim.SGD([*model.parameters(), *balancer.parameters()], lr=settings.learning_rate),
            losses=losses,
            metrics={task: bound.metrics[task] for task in tasks if bound.metrics},
            splits={name: split for name, split in bound.splits.items() if name in parts},
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            seed=run.seed,
            **options,
        )

    started = time.perf_counter()
    everything = "train", "validation", "test"
    progress = f"{run.method}, {settings.scheme}, {settings.architecture}, {settings.auxiliary}, seed {run.seed}"

    def select() -> tuple[training.Result, np.ndarray]:
        """Train as the first stage says; also return the utilities at each step (epochs, steps, T)."""
        model = start()
        selection = TaskSelection(tasks, settings.decay, seed=run.seed)
        course: list[list[float]] = []
        turns = _selected(selection, partial(validate, model), settings.reward_batches, course)
        result = train(model, InTurns(tasks, turns), *everything, progress=progress)
        return result, np.array(course).reshape(len(result.curves["train/loss/" + tasks[0]]), -1, len(tasks))

    def mix(mixed: list[str]) -> training.Result:
        """Search for the ratio, train with it, and add the search to the result."""

        def turns(ratios: Ratios) -> InTurns:
            counts = zip(mixed, ratios, strict=True)
            return InTurns(tasks, itertools.cycle([task for task, n in counts for _ in range(n)]))

        def objective(ratios: Ratios) -> float:
            model = start()
            train(model, turns(ratios), "train")
            return -validate(model)

        mixing = MixingRatios(len(mixed), settings.largest, seed=run.seed)
        best = mixing.run(objective, settings.evaluations)
        result = train(start(), turns(best), *everything, progress=progress)
        result.traces |= _search(mixing, mixed, tasks)
        return result

    if settings.scheme == "task_selection":
        result, course = select()
        result.curves |= _curves("utility", course.mean(axis=1), tasks)
    elif settings.scheme == "mixing_ratios":
        result = mix(list(tasks))
    elif settings.scheme == "autosem":
        _, course = select()
        # What the last rewards say is little, at the published decay; so the mean counts, as for the chapter's tables.
        means = dict(zip(tasks, course.mean(axis=(0, 1)), strict=True))
        result = mix([tasks[0], *(task for task in tasks[1:] if means[task] > 0.5)])
        result.curves |= _curves("utility", course.mean(axis=1), tasks)
    else:
        model = start()
        # Generated runs are shorter than what a checkpoint an epoch takes, and none holds the course of the gates.
        is_kept = settings.dataset == "pairs" and not isinstance(model, _WatchedGates)
        checkpoint = run.checkpoint(bound.description) if is_kept else None
        balancer = run.balancer(len(tasks), device)
        result = train(model, balancer, *everything, progress=progress, checkpoint=checkpoint)
        if isinstance(model, _WatchedGates) and model.course:
            result.curves |= _curves("gate", np.array(model.course), tasks[1:])
    if settings.scheme != "none":  # a search takes longer than the training at its end
        result.timing = result.timing.model_copy(update={"total_seconds": time.perf_counter() - started})
    return bound.description, result


def _selected(
    selection: TaskSelection, validate: Callable[[], float], batches: int, course: list[list[float]]
) -> Iterator[str]:
    """Yield the task of every step, and append all tasks' utilities to ``course`` before it."""
    before = validate()
    while True:
        task = selection.choose()
        for _ in range(batches):
            course.append(list(selection.utilities().values()))
            yield task
        now = validate()
        selection.update(task, now <= before)
        before = now


def _curves(what: str, course: np.ndarray, tasks: Iterable[str]) -> dict[str, list[float | None]]:
    """Return what there is of each task after every epoch, (epochs, T), as curves."""
    return {f"train/{what}/{task}": values.round(6).tolist() for task, values in zip(tasks, course.T, strict=True)}


def _search(mixing: MixingRatios, mixed: list[str], tasks: tuple[str, ...]) -> dict[str, list[float | None]]:
    """Return, for each evaluation, its value, and each task's share in the best ratio until then, as traces."""
    losses = [-value if math.isfinite(value) else None for value in mixing.evaluated.values()]
    best, best_loss = (1, *[0] * (len(mixed) - 1)), math.inf
    shares: dict[str, list[float | None]] = {f"evaluation/share/{task}": [] for task in tasks}
    for ratios, loss in zip(mixing.evaluated, losses, strict=True):
        if loss is not None and loss < best_loss:
            best, best_loss = ratios, loss
        share = dict(zip(mixed, best, strict=True))
        for task in tasks:
            shares[f"evaluation/share/{task}"].append(round(share.get(task, 0) / sum(best), 6))
    return {f"evaluation/loss/{tasks[0]}": list(losses)} | shares


experiment = Experiment(
    "auxiliary_tasks",
    AuxiliarySettings,
    _measure,
    single_step_multimnist.checksums,
    studies=("gating", "selection", "own", "pairs", "pairs.gating", "pairs.selection"),
)
