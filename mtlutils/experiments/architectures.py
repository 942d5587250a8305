"""Every way to share a network on pairs of images: the same data, stages, losses, optimiser and number of batches."""

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.functional import cross_entropy

from mtlutils import losses, models, training
from mtlutils.data import multi_mnist
from mtlutils.errors import InputError
from mtlutils.experiments import single_step_multimnist
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.experiments.single_step_multimnist import Task
from mtlutils.models.lenet import N_FEATURES
from mtlutils.models.stages import EncoderFactory, Residual, with_batch_norm
from mtlutils.records import Data
from mtlutils.training import Batch

# The runs of one call share their data.
_load = lru_cache(maxsize=1)(multi_mnist.load)

Architecture = Literal[
    "hard_sharing",
    "soft_sharing",
    "cross_stitch",
    "sluice",
    "gated_sharing",
    "mtan",
    "multilinear_relationship",
    "task_routing",
    "layered_supervision",
    "multi_backbone",
    "auxiliary_modules",
    "adashare",
]


class ArchitectureSettings(Settings):
    """Parameters of a run; each architecture reads those of its own options."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: the images below MTLUTILS_DATA")
    tasks: tuple[Task, ...] = Field(("top-left", "bottom-right"), min_length=1)
    train_pairs: Annotated[int, Field(ge=1)] = 200
    validation_pairs: Annotated[int, Field(ge=1)] = 100
    test_pairs: Annotated[int, Field(ge=1)] = 100
    architecture: Architecture = "hard_sharing"
    blocks: Annotated[int, Field(ge=0)] = Field(
        0, description="Residual blocks after the second convolution, and as many after the fully connected layer"
    )
    batch_norm: bool = Field(False, description="After every stage of an encoder; an attention module has it anyway")
    epochs: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=2)] = 20
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="Of SGD, its peak")
    soft_strength: Annotated[float, Field(ge=0)] = Field(1e-3, description="soft_sharing")
    alpha_same: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="cross_stitch, sluice: what a task takes of its own features at the start"
    )
    subspaces: Annotated[int, Field(ge=1)] = Field(2, description="sluice")
    orthogonality: Annotated[float, Field(ge=0)] = Field(0.1, description="sluice")
    gate_weight: float = Field(0.1, description="gated_sharing: what a task borrows at the start")
    prior_strength: Annotated[float, Field(ge=0)] = Field(
        1.0, description="multilinear_relationship: over train_pairs, since the losses are means over a batch"
    )
    covariance_every: Annotated[int, Field(ge=1)] = Field(
        100, description="multilinear_relationship: steps between two sweeps of the covariances"
    )
    least_variance: Annotated[float, Field(gt=0)] = Field(0.03, description="multilinear_relationship: ε")
    sigma: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="task_routing: part of the channels of a task")
    lower_task: Task = Field("bottom-right", description="layered_supervision: the task below the last stage")
    backbones: Annotated[int, Field(ge=1)] = Field(2, description="multi_backbone")
    auxiliary_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="auxiliary_modules: of their losses")
    policy_epochs: Annotated[float, Field(gt=0)] = Field(
        0.5, description="adashare: epochs, or part of one, that learn the policies; the network then starts anew"
    )
    policy_temperature: Annotated[float, Field(gt=0)] = Field(
        1.0, description="adashare: at the start; published code: 5"
    )
    policy_sparsity: Annotated[float, Field(ge=0)] = Field(0.001, description="adashare")
    policy_sharing: Annotated[float, Field(ge=0)] = Field(0.001, description="adashare")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.architecture == "adashare" and not self.blocks:
            raise ValueError("adashare needs blocks that tasks can skip; set blocks to 1 or more")
        if self.architecture == "adashare" and self.policy_epochs >= self.epochs:
            raise ValueError("policy_epochs must be below epochs, as the network then trains anew; lower it")
        return self


@dataclasses.dataclass(frozen=True)
class Watched:
    """A training split that calls a function before every batch.

    Attributes:
        split: The split.
        before: Is given the number of the batch in its epoch, from 0.
    """

    split: training.Split
    before: Callable[[int], None]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.split)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield the split's batches."""
        for number, batch in enumerate(self.split.batches(batch_size, generator)):
            self.before(number)
            yield batch


def network(settings: ArchitectureSettings, n_classes: Mapping[str, int]) -> models.MultiTaskModel:
    """Build an architecture on LeNet, of three stages: two convolutions, and a fully connected layer.

    The first encoder and the heads start as LeNet does at the same seed, whatever the architecture.

    Args:
        settings: Which architecture, and its options.
        n_classes: Task name -> number of classes.

    Raises:
        InputError: a single task has an architecture; or an option does not fit the stages.
    """
    if len(n_classes) < 2 and settings.architecture != "hard_sharing":
        raise InputError(f"{settings.architecture} needs two tasks; train a single one with hard_sharing")
    lenet = models.lenet(n_classes)
    heads = dict(lenet.heads.items())
    example = (torch.zeros(1, 1, 36, 36),)
    encoder = _encoders(lenet.encoder, settings.blocks, example if settings.batch_norm else None)
    match settings.architecture:
        case "hard_sharing":
            return models.MultiTaskModel(encoder(), heads)
        case "soft_sharing":
            return models.SoftSharing(encoder, heads, strength=settings.soft_strength)
        case "cross_stitch":
            return models.CrossStitch(encoder, heads, alpha_same=settings.alpha_same)
        case "sluice":
            return models.Sluice(
                encoder,
                heads,
                example=example,
                n_subspaces=settings.subspaces,
                alpha_same=settings.alpha_same,
                orthogonality=settings.orthogonality,
            )
        case "gated_sharing":
            return models.GatedSharing(encoder, heads, example=example, weight=settings.gate_weight)
        case "mtan":
            return models.MTAN(encoder, heads, example=example)
        case "multilinear_relationship":
            strength = settings.prior_strength / settings.train_pairs
            return models.MultilinearRelationship(encoder, heads, strength=strength, epsilon=settings.least_variance)
        case "task_routing":
            return models.TaskRouting(encoder, heads, example=example, sigma=settings.sigma)
        case "layered_supervision":
            task = settings.lower_task
            heads[task] = nn.Sequential(nn.Flatten(), nn.Linear(500, n_classes[task]))
            return models.LayeredSupervision(encoder, heads, levels={task: 1})
        case "multi_backbone":
            heads = {task: nn.Linear(settings.backbones * N_FEATURES, n) for task, n in n_classes.items()}
            return models.MultiBackbone([encoder] * settings.backbones, heads)
        case "auxiliary_modules":
            return models.SupervisedTwice(encoder, heads, example=example, auxiliary_weight=settings.auxiliary_weight)
        case "adashare":
            return models.AdaShare(
                encoder,
                heads,
                example=example,
                temperature=settings.policy_temperature,
                sparsity=settings.policy_sparsity,
                sharing=settings.policy_sharing,
            )


def _encoders(first: nn.Module, n_blocks: int, example: Sequence[Any] | None) -> EncoderFactory:
    """Return a function that makes encoders, of which the first is given; with batch norm if there is an example."""
    made = itertools.chain([first], iter(lambda: models.lenet({}).encoder, None))

    def encoder() -> nn.Module:
        layers = next(made)
        assert isinstance(layers, nn.Sequential)
        *convolutions, last = models.in_stages(layers, (3, 6))
        maps = [Residual(nn.Conv2d(20, 20, 3, padding=1)) for _ in range(n_blocks)]
        features = [Residual(nn.Linear(N_FEATURES, N_FEATURES)) for _ in range(n_blocks)]
        stages = nn.Sequential(*convolutions, *maps, last, *features)
        return stages if example is None else with_batch_norm(stages, example)

    return encoder


def clock(
    model: models.MultiTaskModel, settings: ArchitectureSettings, steps_per_epoch: int
) -> Callable[[int], None] | None:
    """Return what an architecture does before a step, given the step's number in its epoch; None: nothing."""
    if isinstance(model, models.MultilinearRelationship):

        def sweep(step: int) -> None:
            if step and step % settings.covariance_every == 0:
                model.update_covariances()

        return sweep
    if isinstance(model, models.AdaShare):
        start = copy.deepcopy(model.state_dict())

        def retrain(step: int) -> None:
            if model.fixed is None and model.n_epochs + step / steps_per_epoch >= settings.policy_epochs:
                model.retrain(start)

        return retrain
    return None


def parameter_counts(model: models.MultiTaskModel) -> dict[str, float | None]:
    """Return how many parameters a model has: shared, of the tasks, and what is left of both at inference."""
    match model:
        case models.AuxiliaryModules():
            left = model.without_auxiliary().parameters()
        case models.AdaShare():
            left = model.used_parameters()
        case _:
            left = model.parameters()
    each = {"shared": model.shared_parameters(), "task": model.task_parameters(), "inference": left}
    return {f"model/parameters/{name}": sum(p.numel() for p in parameters) for name, parameters in each.items()}


def _measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    from mtlutils import metrics  # torchmetrics takes seconds to import

    settings = run.settings
    assert isinstance(settings, ArchitectureSettings)
    sizes = settings.train_pairs, settings.validation_pairs, settings.test_pairs
    data = _load(settings.data, "mnist", *sizes, device)
    n_classes: dict[str, int] = {task: data.n_classes[task] for task in settings.tasks}

    torch.manual_seed(run.seed)
    model = network(settings, n_classes).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    balancer = run.balancer(len(n_classes), device)
    steps_per_epoch = -(-len(data.train) // settings.batch_size)
    before = clock(model, settings, steps_per_epoch)
    result = training.train(
        model=model,
        balancer=balancer,
        optimizer=torch.optim.SGD([*model.parameters(), *balancer.parameters()], lr=settings.learning_rate),
        losses=dict.fromkeys(n_classes, losses.supervised_twice(cross_entropy, settings.auxiliary_weight)),
        metrics={task: metrics.classification(n).to(device) for task, n in n_classes.items()},
        splits={
            "train": data.train if before is None else Watched(data.train, before),
            "validation": data.validation,
            "test": data.test,
        },
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=run.seed,
        schedule="one_cycle",  # at a constant rate what the last steps do would be most of what seeds differ by
        # AdaShare's network starts anew once the policies are learned, and so does its rate.
        restart=math.ceil(settings.policy_epochs * steps_per_epoch) if settings.architecture == "adashare" else 0,
        step_memory=True,
        checkpoint=run.checkpoint(data.description),
        progress=f"{settings.architecture}, seed {run.seed}",
    )
    return data.description, dataclasses.replace(result, metrics=result.metrics | parameter_counts(model))


# Each of these once more with batch norm.
_PLAIN = ("baseline", "deeper", "sweep", "rates", "rates.baseline", "rates.deeper", "longer", "longer.baseline")

experiment = Experiment(
    "architectures",
    ArchitectureSettings,
    _measure,
    single_step_multimnist.checksums,
    studies=("claims", "claims.baseline", *_PLAIN, "normalised", *(f"normalised.{study}" for study in _PLAIN)),
)
