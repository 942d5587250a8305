"""Every balancing method on three data sets, on equal terms: the network, the budget and the learning rate are one."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator

from mtlutils import training
from mtlutils.experiments import adaptive_cifar100, dense, single_step_multimnist
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.records import Data

Dataset = Literal["multi_mnist", "cifar100", "rooms"]
Task = Literal[single_step_multimnist.Task, adaptive_cifar100.Task, dense.Task]

TASKS: dict[Dataset, tuple[Task, ...]] = {
    "multi_mnist": ("top-left", "bottom-right"),
    "cifar100": ("2-class", "3-class", "4-class", "5-class", "100-class"),
    "rooms": dense.TASKS["nyuv2"],
}


class LandscapeSettings(Settings):
    """Parameters of a run."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: the files below MTLUTILS_DATA")
    dataset: Dataset = Field("multi_mnist", description="rooms: rendered, or real as NYUv2")
    tasks: tuple[Task, ...] = Field((), description="Empty: all of the data set")
    train_items: Annotated[int, Field(ge=1)] = Field(200, description="Training pairs or rooms; CIFAR-100 is whole")
    evaluated_items: Annotated[int, Field(ge=1)] = Field(100, description="For validation, and for test; as above")
    image_size: tuple[int, int] | None = Field((32, 64), description="Of rooms, height and width; null: 288x384")
    width: Annotated[int, Field(ge=1)] = Field(1, description="Of WRN-10, or channels of SegNet's first stage")
    epochs: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=2)] = 20
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="Of SGD, its peak; of Adam")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Of the forward pass; Multi-MNIST has fp32")

    @model_validator(mode="before")
    @classmethod
    def _all_tasks(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("tasks"):
            dataset = values.get("dataset", cls.model_fields["dataset"].default)
            return {**values, "tasks": TASKS.get(dataset, ())}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if unknown := set(self.tasks) - set(TASKS[self.dataset]):
            raise ValueError(f"{self.dataset} has no task {min(unknown)}")
        return self


def _measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    settings = run.settings
    assert isinstance(settings, LandscapeSettings)
    common = settings.model_dump(include={"data", "tasks", "epochs", "batch_size", "learning_rate"})
    bound: Settings
    measure: Callable[[Run, torch.device], tuple[Data, training.Result]]
    match settings.dataset:
        case "multi_mnist":
            measure = single_step_multimnist.measure
            bound = single_step_multimnist.MultiMNISTSettings(
                **common,
                train_pairs=settings.train_items,
                validation_pairs=settings.evaluated_items,
                test_pairs=settings.evaluated_items,
                schedule="one_cycle",  # at a constant rate the last steps would be most of what seeds differ by
            )
        case "cifar100":
            measure = adaptive_cifar100.measure
            bound = adaptive_cifar100.CIFAR100Settings(
                **common,
                width=settings.width,
                precision=settings.precision,
                validation_fraction=0.1 if settings.data == "real" else 0.2,
            )
        case "rooms":
            measure = dense.measure
            bound = dense.SegNetSettings(
                **common,
                train_images=settings.train_items,
                validation_images=settings.evaluated_items,
                test_images=settings.evaluated_items,
                image_size=settings.image_size,
                width=settings.width,
                precision=settings.precision,
            )
    return measure(dataclasses.replace(run, settings=bound, stands_for=run), device)


experiment = Experiment(
    "balancing_landscape",
    LandscapeSettings,
    _measure,
    lambda: {**single_step_multimnist.checksums(), **adaptive_cifar100.checksums()},
    studies=(
        "rates",
        "single",
        "baseline",
        "claims",
        "costs",
        "cifar100",
        "rooms",
        "sweep",
        "cifar100.sweep",
        "cifar100.longer",
        "rooms.sweep",
    ),
)
