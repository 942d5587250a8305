"""Lee & Son 2020 on pairs of MNIST and Fashion-MNIST images: Table 1 and Figure 3."""

from functools import lru_cache
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from mtlutils import training
from mtlutils.data import multi_mnist
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.models import lenet
from mtlutils.records import Data

# The runs of one call share their data.
_load = lru_cache(maxsize=1)(multi_mnist.load)

Task = Literal["top-left", "bottom-right"]


class MultiMNISTSettings(Settings):
    """Parameters of a run; what the paper does not give is marked so."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: the images below MTLUTILS_DATA")
    dataset: Literal["mnist", "fashion", "fashion_and_mnist"] = Field("mnist", description="What the pairs are made of")
    tasks: tuple[Task, ...] = Field(("top-left", "bottom-right"), min_length=1)
    train_pairs: Annotated[int, Field(ge=1)] = Field(300, description="The paper: 120,000")
    validation_pairs: Annotated[int, Field(ge=1)] = Field(300, description="The paper: 10,000")
    test_pairs: Annotated[int, Field(ge=1)] = Field(300, description="The paper: 10,000")
    head: Literal["linear", "hidden"] = Field("linear", description="A task's own layers; not in the paper")
    epochs: Annotated[int, Field(ge=1)] = Field(3, description="Not in the paper")
    patience: Annotated[int, Field(ge=0)] = Field(
        0, description="Epochs without a better validation loss that end a run; 0: none do. The paper does not say"
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(16, description="Not in the paper")
    learning_rate: Annotated[float, Field(gt=0)] = Field(0.1, description="The paper: 0.001")
    schedule: training.Schedule = Field("constant", description="Of the learning rate; not in the paper")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Not in the paper")
    trace: Annotated[int, Field(ge=0)] = Field(
        0, description="First steps whose losses the record keeps, where the method has more to tell than those"
    )


def measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    """Make a run."""
    from mtlutils import metrics  # torchmetrics takes seconds to import

    settings = run.settings
    assert isinstance(settings, MultiMNISTSettings)
    sizes = settings.train_pairs, settings.validation_pairs, settings.test_pairs
    data = _load(settings.data, settings.dataset, *sizes, device)
    n_classes: dict[str, int] = {task: data.n_classes[task] for task in settings.tasks}

    torch.manual_seed(run.seed)
    model = lenet(n_classes, settings.head).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stub
    balancer = run.balancer(len(n_classes), device)
    result = training.train(
        model=model,
        balancer=balancer,
        optimizer=torch.optim.SGD(
            [*model.parameters(), *balancer.parameters()], lr=settings.learning_rate, momentum=settings.momentum
        ),
        losses=dict.fromkeys(n_classes, cross_entropy),
        metrics={task: metrics.classification(n).to(device) for task, n in n_classes.items()},
        splits={"train": data.train, "validation": data.validation, "test": data.test},
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=run.seed,
        schedule=settings.schedule,
        patience=settings.patience or None,
        trace=settings.trace,
        step_memory=True,
        checkpoint=run.checkpoint(data.description),
        progress=f"{run.method}, {settings.dataset}, seed {run.seed}",
    )
    return data.description, result


def checksums() -> dict[str, str]:
    """Return the checksums of the real data at hand."""
    sets: list[Literal["mnist", "fashion"]] = [each for each in ("mnist", "fashion") if multi_mnist.is_there(each)]
    return {file: digest for each in sets for file, digest in multi_mnist.checksums(each).items()}


experiment = Experiment(
    "single_step_multimnist",
    MultiMNISTSettings,
    measure,
    checksums,
    studies=("sweep", "tuned", "alphas", "accelerated", "longer"),
)
