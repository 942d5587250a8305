"""What the experiments on rooms and streets share: one network, some balancing method, a target for every pixel."""

import dataclasses
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pooch
import torch
from pydantic import Field, model_validator
from torch.nn.functional import normalize

from mtlutils import losses, models, training
from mtlutils.balancing.balancer import Balancer
from mtlutils.data import cityscapes, dense_standin, nyuv2, nyuv2_samples
from mtlutils.data.dense import DenseData, DenseSplit
from mtlutils.errors import InputError
from mtlutils.experiments.estimate import Work
from mtlutils.experiments.experiment import Run, Settings
from mtlutils.models import pretrained_weights
from mtlutils.records import Data
from mtlutils.task_losses import TaskLosses

Task = Literal["segmentation", "depth", "normal"]
Dataset = Literal["cityscapes", "nyuv2"]

TASKS: dict[Dataset, tuple[Task, ...]] = {
    "cityscapes": ("segmentation", "depth"),
    "nyuv2": ("segmentation", "depth", "normal"),
}
SIZES: dict[Dataset, tuple[int, int]] = {"cityscapes": (128, 256), "nyuv2": (288, 384)}
"""Height and width of the published files."""

_LOSSES = {"segmentation": losses.segmentation, "depth": losses.depth, "normal": losses.normals}
_STAND_IN: dict[Dataset, Literal["street", "room"]] = {"cityscapes": "street", "nyuv2": "room"}
_REAL = {"cityscapes": cityscapes, "nyuv2": nyuv2}
_EVALUATED = 16  # images at a time
_BYTES = {"image": 6, "segmentation": 1, "depth": 2, "normal": 6}  # of a pixel, as a DenseSplit holds them


class DenseSettings(Settings):
    """Parameters of a run; what the papers do not give is marked so."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: the files below MTLUTILS_DATA")
    dataset: Dataset = Field("nyuv2", description="Stand-ins: streets for CityScapes, rooms for NYUv2")
    tasks: tuple[Task, ...] = Field((), description="Empty: all of the data set")
    train_images: Annotated[int, Field(ge=0)] = Field(40, description="Of a stand-in; real sets are taken whole")
    validation_images: Annotated[int, Field(ge=0)] = Field(10, description="Of a stand-in; real sets have none")
    test_images: Annotated[int, Field(ge=0)] = Field(10, description="Of a stand-in; real sets are taken whole")
    image_size: tuple[int, int] | None = Field(
        (32, 64), description="Height and width; null: as published, 128x256 and 288x384"
    )
    augment: bool = Field(False, description="Magnified and mirrored training images; not in the papers")
    width: Annotated[int, Field(ge=1)] = Field(8, description="Channels of the first stage; the papers: 64")
    epochs: Annotated[int, Field(ge=1)] = Field(2, description="Not in the papers")
    batch_size: Annotated[int, Field(ge=0)] = Field(
        4, description="Not in the papers; 0: as in published code, 2 for SegNet on NYUv2, and else 8"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Of Adam; not in the papers")
    schedule: Literal["constant", "halving"] = Field("halving", description="Not in the papers")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: of the forward pass, by autocast")
    predictions: Annotated[int, Field(ge=0)] = Field(
        0, description="First test images whose predictions are kept beside the record, of seed 0"
    )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.image_size or SIZES[self.dataset]

    @property
    def images_a_step(self) -> int:
        """Images in a batch."""
        return self.batch_size or (2 if self.dataset == "nyuv2" and isinstance(self, SegNetSettings) else 8)

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
        if self.data == "stand-in" and not (self.train_images and self.validation_images and self.test_images):
            raise ValueError("a stand-in needs at least one image for each of training, validation and test")
        return self


class SegNetSettings(DenseSettings):
    """Parameters of a run with SegNet."""

    architecture: Literal["segnet", "segnet_mtan"] = Field("segnet", description="Without attention, or with it")


class ResNetSettings(DenseSettings):
    """Parameters of a run with a dilated ResNet."""

    architecture: Literal["dilated_resnet", "dilated_resnet_mtan"] = Field(
        "dilated_resnet_mtan", description="Without attention, or with it"
    )
    layers: tuple[int, int, int, int] = Field((2, 2, 2, 2), description="Blocks of each stage; ResNet-50: 3, 4, 6, 3")
    aspp_channels: Annotated[int, Field(ge=1)] = Field(32, description="Of the heads; not in the paper")
    pretrained: bool = Field(False, description="Whether to start from ImageNet's weights, as the paper does")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="Of Adam; not in the paper")


@lru_cache(maxsize=1)
def load(
    data: str,
    dataset: Dataset,
    tasks: tuple[Task, ...],
    sizes: tuple[int, int, int],
    size: tuple[int, int],
    augment: bool,
    device: torch.device,
) -> DenseData:
    """Load a data set onto a device; the runs of one call share it.

    Args:
        data: ``"stand-in"`` or ``"real"``.
        dataset: Which.
        tasks: Whose targets.
        sizes: Images for training, validation and test, of a stand-in.
        size: Height and width.
        augment: Whether training images are magnified and mirrored.
        device: Where to put it.

    Raises:
        InputError: real files are missing, broken, or of another size.
    """
    if data == "stand-in":
        return dense_standin.load(_STAND_IN[dataset], *sizes, size, tasks, augment=augment, device=device)
    loaded = _REAL[dataset].load(tasks, augment=augment, device=device)
    if (found := tuple(loaded.train.images.shape[-2:])) != size:
        raise InputError(f"{dataset}: the files are of {found[0]}x{found[1]} pixels; set image_size to that")
    return loaded


def data_of(settings: DenseSettings, device: torch.device) -> DenseData:
    """Load the data of a run."""
    sizes = settings.train_images, settings.validation_images, settings.test_images
    # All the tasks of the set, so that runs with one task each share what is loaded.
    return load(
        settings.data, settings.dataset, TASKS[settings.dataset], sizes, settings.size, settings.augment, device
    )


def measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    """Make a run."""
    from mtlutils import metrics  # torchmetrics takes seconds to import

    settings = run.settings
    assert isinstance(settings, DenseSettings)
    data = data_of(settings, device)
    n_outputs: dict[str, int] = {task: data.n_outputs[task] for task in settings.tasks}
    weights = pretrained_weights() if isinstance(settings, ResNetSettings) and settings.pretrained else None
    description = data.description if weights is None else _with_digest_of(weights, data.description)
    model, balancer, optimizer = _learner(run, n_outputs, device, weights)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    of_task = {
        "segmentation": metrics.segmentation(data.n_outputs["segmentation"]),
        "depth": metrics.depth(),
        "normal": metrics.normals(),
    }
    result = training.train(
        model=model,
        balancer=balancer,
        optimizer=optimizer,
        losses={task: _LOSSES[task] for task in settings.tasks},
        metrics={task: of_task[task].to(device) for task in settings.tasks},
        splits={name: _of(split, settings.tasks) for name, split in splits.items() if split is not None},  # type: ignore[misc]
        epochs=settings.epochs,
        batch_size=settings.images_a_step,
        seed=run.seed,
        schedule=settings.schedule,
        precision=settings.precision,
        evaluation_batch_size=_EVALUATED,
        step_memory=True,
        checkpoint=run.checkpoint(description),
        progress=f"{run.method}, {settings.dataset}, {', '.join(settings.tasks)}, seed {run.seed}",
    )
    if settings.predictions and run.seed == 0:
        result.predictions = _predictions(model, settings, data, device)
    return description, result


def work(run: Run, device: torch.device, compiled: bool = False) -> Work:
    """Make a training step of a run, on noise and from random weights, to measure what the run will take.

    Args:
        run: The run.
        device: Where.
        compiled: Whether ``torch.compile`` compiles the network, which takes minutes at the first step.
    """
    settings = run.settings
    assert isinstance(settings, DenseSettings)
    n_train, n_evaluated = settings.train_images, settings.validation_images + settings.test_images
    if settings.data == "real":
        n_train, n_evaluated = _REAL[settings.dataset].PUBLISHED.values()
    channels = dense_standin.N_OUTPUTS[_STAND_IN[settings.dataset]]
    n_outputs: dict[str, int] = {task: channels[task] for task in settings.tasks}
    model, balancer, optimizer = _learner(run, n_outputs, device)
    if compiled:
        model.compile()
    held: tuple[str, ...] = ("image", *TASKS[settings.dataset])
    shape = settings.images_a_step, settings.size
    images = torch.rand(shape[0], 3, *shape[1], device=device)
    targets = {task: torch.rand(shape[0], n, *shape[1], device=device) for task, n in n_outputs.items()}
    if "segmentation" in targets:
        targets["segmentation"] = targets["segmentation"].argmax(dim=1)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")
    losses_of = TaskLosses(model, {task: _LOSSES[task] for task in n_outputs}, autocast, (images,), targets)
    return Work(
        step=lambda: balancer.step(losses_of, model, optimizer),
        steps=settings.epochs * math.ceil(n_train / settings.images_a_step),
        evaluated=n_evaluated / n_train,
        data_bytes=(n_train + n_evaluated) * math.prod(settings.size) * sum(_BYTES[each] for each in held),
    )


def _learner(
    run: Run, n_outputs: Mapping[str, int], device: torch.device, weights: Path | None = None
) -> tuple[models.MultiTaskModel, Balancer, torch.optim.Optimizer]:
    settings = run.settings
    assert isinstance(settings, DenseSettings)
    torch.manual_seed(run.seed)
    model = _network(settings, n_outputs, weights)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    balancer = run.balancer(len(n_outputs), device)
    optimizer = torch.optim.Adam(
        [*model.parameters(), *balancer.parameters()],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay if isinstance(settings, ResNetSettings) else 0.0,
    )
    return model, balancer, optimizer


def _network(settings: DenseSettings, n_outputs: Mapping[str, int], weights: Path | None) -> models.MultiTaskModel:
    if isinstance(settings, SegNetSettings):
        of_segnet = models.segnet if settings.architecture == "segnet" else models.segnet_mtan
        return of_segnet(n_outputs, settings.width)
    assert isinstance(settings, ResNetSettings)
    of_resnet = models.dilated_resnet if settings.architecture == "dilated_resnet" else models.dilated_resnet_mtan
    return of_resnet(n_outputs, settings.layers, settings.width, settings.aspp_channels, weights)


def _with_digest_of(weights: Path, data: Data) -> Data:
    digest = pooch.file_hash(str(weights))
    return data.model_copy(update={"checksums": data.checksums | {f"weights/{weights.name}": f"sha256:{digest}"}})


def _of(split: DenseSplit, tasks: tuple[Task, ...]) -> DenseSplit:
    return dataclasses.replace(split, targets={task: split.targets[task] for task in tasks})


@torch.no_grad()
def _predictions(
    model: models.MultiTaskModel, settings: DenseSettings, data: DenseData, device: torch.device
) -> dict[str, np.ndarray]:
    """What the model makes of the first test images and, trained on rooms, of the sample images where they are there.

    ``FROM/segmentation`` (N, H, W) int8; ``FROM/depth`` (N, H, W) float16; ``FROM/normal`` (N, 3, H, W) int8, 127 for a
    length of 1.
    """
    model.eval()
    images = {"test": data.test.images[: settings.predictions].float().to(device)}
    if settings.dataset == "nyuv2" and nyuv2_samples.is_there():
        shown = nyuv2_samples.samples(settings.size)[: settings.predictions]
        images["samples"] = torch.stack([sample.image for sample in shown]).to(device)
    kept = {}
    for name, batch in images.items():
        for task, output in model(batch).items():
            if task == "segmentation":
                kept[f"{name}/{task}"] = output.argmax(dim=1).to(torch.int8)
            elif task == "depth":
                kept[f"{name}/{task}"] = output.squeeze(1).half()
            else:
                kept[f"{name}/{task}"] = (127 * normalize(output, dim=1)).round().to(torch.int8)
    return {name: values.cpu().numpy() for name, values in kept.items()}
