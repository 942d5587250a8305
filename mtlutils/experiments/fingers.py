"""Liu 2022 on images of hands: Figures 3 and 4."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from mtlutils import statistics, training
from mtlutils.balancing.balancer import Balancer
from mtlutils.data import fingers
from mtlutils.experiments.estimate import Work
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.models import MultiTaskModel, fingers_cnn
from mtlutils.records import Data
from mtlutils.task_losses import TaskLosses

THRESHOLD = 0.99
"""Share of right pairs from which training counts as converged; the paper speaks of 99 % or 100 %."""

_load = lru_cache(maxsize=1)(fingers.load)

Task = Literal["count", "hand", "joint"]


class FingersSettings(Settings):
    """Parameters of a run; what the paper does not give is marked so."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: the images below MTLUTILS_DATA")
    tasks: tuple[Task, ...] = Field(
        ("count", "hand"), min_length=1, description="joint: every pair of a count and a hand is a class"
    )
    size: Annotated[int, Field(ge=16)] = Field(32, description="Height and width of the images; the paper: 128")
    train_images: Annotated[int, Field(ge=1)] = Field(
        600, description="The paper: 18,000, of which we validate on some"
    )
    validation_images: Annotated[int, Field(ge=1)] = Field(240, description="Not in the paper")
    test_images: Annotated[int, Field(ge=1)] = Field(240, description="The paper: 3,600")
    epochs: Annotated[int, Field(ge=1)] = Field(3, description="Not in the paper")
    batch_size: Annotated[int, Field(ge=1)] = Field(32, description="Not in the paper")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Not in the paper")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="Not in the paper; sgd has a momentum of 0.9")
    predictions: Annotated[int, Field(ge=0)] = Field(
        0, description="First test images whose predictions are kept beside the record, of seed 0"
    )


def _measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    from mtlutils import metrics  # torchmetrics takes seconds to import

    settings = run.settings
    assert isinstance(settings, FingersSettings)
    sizes = settings.train_images, settings.validation_images, settings.test_images
    data = _load(settings.data, settings.tasks, settings.size, *sizes, device)
    n_classes: dict[str, int] = {task: data.n_classes[task] for task in settings.tasks}

    model, balancer, optimizer = _learner(run, n_classes, device)
    result = training.train(
        model=model,
        balancer=balancer,
        optimizer=optimizer,
        losses=dict.fromkeys(n_classes, cross_entropy),
        metrics={task: metrics.classification(n).to(device) for task, n in n_classes.items()},
        together={"pair": metrics.exact_match().to(device)},
        splits={"train": data.train, "validation": data.validation, "test": data.test},
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=run.seed,
        checkpoint=run.checkpoint(data.description),
        progress=f"{run.method}, {', '.join(settings.tasks)}, seed {run.seed}",
    )
    if set(settings.tasks) in ({"joint"}, {"count", "hand"}):
        result.metrics |= _of_training(result, settings.tasks)
    if settings.predictions and run.seed == 0:
        inputs, _ = next(data.test.batches(settings.predictions))
        with torch.no_grad():
            outputs = model.eval()(*inputs)
        result.predictions = {task: output.argmax(dim=1).cpu().numpy() for task, output in outputs.items()}
    return data.description, result


def _learner(
    run: Run, n_classes: Mapping[str, int], device: torch.device
) -> tuple[MultiTaskModel, Balancer, torch.optim.Optimizer]:
    settings = run.settings
    assert isinstance(settings, FingersSettings)
    torch.manual_seed(run.seed)
    model = fingers_cnn(n_classes, settings.size).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    balancer = run.balancer(len(n_classes), device)
    parameters = [*model.parameters(), *balancer.parameters()]
    if settings.optimizer == "adam":
        return model, balancer, torch.optim.Adam(parameters, lr=settings.learning_rate)
    return model, balancer, torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=0.9)


def work(run: Run, device: torch.device) -> Work:
    """Make a training step of a run, on noise, to measure what the run will take."""
    settings = run.settings
    assert isinstance(settings, FingersSettings)
    n_train, n_evaluated = settings.train_images, settings.validation_images + settings.test_images
    n_classes: dict[str, int] = {task: fingers.N_CLASSES[task] for task in settings.tasks}
    model, balancer, optimizer = _learner(run, n_classes, device)
    images = torch.rand(settings.batch_size, 1, settings.size, settings.size, device=device)
    targets = {task: torch.randint(n, (settings.batch_size,), device=device) for task, n in n_classes.items()}
    closure = TaskLosses(model, dict.fromkeys(n_classes, cross_entropy), nullcontext(), (images,), targets)
    return Work(
        step=lambda: balancer.step(closure, model, optimizer),
        steps=settings.epochs * math.ceil(n_train / settings.batch_size),
        evaluated=n_evaluated / n_train,
        data_bytes=(n_train + n_evaluated) * settings.size**2,
    )


def _of_training(result: training.Result, tasks: tuple[Task, ...]) -> dict[str, float | None]:
    """Return how fast training was, in numbers that both kinds of network have; None where it diverged.

    The loss of a pair is that of the joint class, or the sum of both tasks': either way the negative logarithm of the
    probability that the network gives to the pair.
    """
    names = ("loss", "mean_loss", "mean_accuracy", "epochs_to_99")
    if result.status == "diverged":
        return {f"test/{name}/pair": None for name in names}
    losses = np.sum([statistics.finite(result.curves[f"test/loss/{task}"]) for task in tasks], axis=0)
    accuracies = np.array(statistics.finite(result.curves["test/accuracy/pair"]))
    reached = np.flatnonzero(accuracies >= THRESHOLD)
    values = losses[-1], losses.mean(), accuracies.mean(), reached[0] + 1 if len(reached) else None
    return {
        f"test/{name}/pair": None if value is None else float(value) for name, value in zip(names, values, strict=True)
    }


def _checksums() -> dict[str, str]:
    return fingers.checksums() if fingers.is_there() else {}


experiment = Experiment(
    "fingers",
    FingersSettings,
    _measure,
    _checksums,
    studies=("joint", "baseline", "tuning", "joint_tuning"),
    work=work,
)
