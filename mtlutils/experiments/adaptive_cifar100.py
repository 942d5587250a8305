"""Huq & Pervin 2022 on CIFAR-100: Table 2 and Figure 2a."""

from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from mtlutils import training
from mtlutils.data import cifar100
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.models import wide_resnet
from mtlutils.records import Data

# The runs of one call share their data.
_load = lru_cache(maxsize=1)(cifar100.load)

Task = Literal["2-class", "3-class", "4-class", "5-class", "100-class"]


class CIFAR100Settings(Settings):
    """Parameters of a run; what the paper does not give is marked so."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: CIFAR-100 below MTLUTILS_DATA")
    tasks: tuple[Task, ...] = Field(("2-class", "3-class", "4-class", "5-class", "100-class"), min_length=1)
    grouping: cifar100.Grouping = Field("contiguous", description="Labels of a group; not in the paper")
    depth: Annotated[int, Field(ge=10)] = Field(10, description="Of the wide residual network; the paper: 28")
    width: Annotated[int, Field(ge=1)] = Field(1, description="Of the wide residual network; the paper: 10")
    epochs: Annotated[int, Field(ge=1)] = Field(2, description="The paper: 100")
    batch_size: Annotated[int, Field(ge=2)] = Field(128, description="Not in the paper")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="Peak of the schedule; the paper: 0.001")
    schedule: Literal["constant", "one_cycle"] = Field("one_cycle", description="As in the paper")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.9, description="Not in the paper; one_cycle takes it from 0.95 to 0.85 and back unless it is 0"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="Not in the paper")
    augment: bool = Field(True, description="Random crops and mirror images; not in the paper")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Of the forward pass; not in the paper")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(0.2, description="Of the training images")


def measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    """Make a run."""
    from mtlutils import metrics  # torchmetrics takes seconds to import

    settings = run.settings
    assert isinstance(settings, CIFAR100Settings)
    # A random grouping is drawn anew with each seed; the others are the same for all, and so are their data.
    grouping_seed = run.seed if settings.grouping == "random" else 0
    data = _load(
        settings.data, settings.grouping, grouping_seed, settings.validation_fraction, settings.augment, device
    )
    n_classes: dict[str, int] = {task: data.n_classes[task] for task in settings.tasks}

    torch.manual_seed(run.seed)
    model = wide_resnet(settings.depth, settings.width, n_classes).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    balancer = run.balancer(len(n_classes), device)
    parameters: list[dict[str, Any]] = [
        {"params": list(model.parameters()), "weight_decay": settings.weight_decay},
        {"params": list(balancer.parameters())},
    ]
    result = training.train(
        model=model,
        balancer=balancer,
        optimizer=torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum),
        losses=dict.fromkeys(n_classes, cross_entropy),
        metrics={task: metrics.classification(n).to(device) for task, n in n_classes.items()},
        splits={"train": data.train, "validation": data.validation, "test": data.test},
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=run.seed,
        schedule=settings.schedule,
        precision=settings.precision,
        step_length=True,
        step_memory=True,
        checkpoint=run.checkpoint(data.description),
        progress=f"{run.method}, seed {run.seed}",
    )
    return data.description, result


def checksums() -> dict[str, str]:
    """Return the checksums of the real data at hand."""
    return cifar100.checksums() if cifar100.is_there() else {}


experiment = Experiment(
    "adaptive_cifar100",
    CIFAR100Settings,
    measure,
    checksums,
    studies=("variants", "sweep", "single", "scaled", "groupings"),
)
