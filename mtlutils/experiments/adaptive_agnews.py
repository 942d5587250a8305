"""Huq & Pervin 2022 on AG News: Table 3 and Figure 2b."""

from functools import lru_cache
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from mtlutils import training
from mtlutils.data import agnews
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.models import text_classifier
from mtlutils.records import Data

# The runs of one call share their data.
_load = lru_cache(maxsize=1)(agnews.load)


class AGNewsSettings(Settings):
    """Parameters of a run; what the paper does not give is marked so."""

    data: Literal["stand-in", "real"] = Field("stand-in", description="real: AG News below MTLUTILS_DATA")
    train_rows: Annotated[int, Field(ge=40)] | None = Field(
        None, description="Rows of the training file to take, by stratified choice; None: all (the paper: 120,000)"
    )
    tasks: tuple[Literal["2-class", "4-class"], ...] = Field(("2-class", "4-class"), min_length=1)
    grouping: agnews.Grouping = Field("contiguous", description="Classes of the 2-class task; not in the paper")
    epochs: Annotated[int, Field(ge=1)] = Field(5, description="Not in the paper")
    batch_size: Annotated[int, Field(ge=1)] = Field(64, description="Not in the paper")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1.0, description="Of plain SGD; not in the paper")
    schedule: Literal["constant", "one_cycle"] = Field("constant", description="Given for CIFAR-100 only")
    embedding_dim: Annotated[int, Field(ge=1)] = Field(64, description="Not in the paper")
    hidden_dim: Annotated[int, Field(ge=1)] = Field(64, description="Not in the paper")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="Of the training rows")


def _measure(run: Run, device: torch.device) -> tuple[Data, training.Result]:
    from mtlutils import metrics  # torchmetrics takes seconds to import

    settings = run.settings
    assert isinstance(settings, AGNewsSettings)
    data = _load(settings.data, settings.grouping, settings.train_rows, settings.validation_fraction, device)
    n_classes: dict[str, int] = {task: data.n_classes[task] for task in settings.tasks}

    torch.manual_seed(run.seed)
    model = text_classifier(len(data.vocabulary), n_classes, settings.embedding_dim, settings.hidden_dim).to(device)
    balancer = run.balancer(len(n_classes), device)
    result = training.train(
        model=model,
        balancer=balancer,
        optimizer=torch.optim.SGD([*model.parameters(), *balancer.parameters()], lr=settings.learning_rate),
        losses=dict.fromkeys(n_classes, cross_entropy),
        metrics={task: metrics.classification(n).to(device) for task, n in n_classes.items()},
        splits={"train": data.train, "validation": data.validation, "test": data.test},
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=run.seed,
        schedule=settings.schedule,
        checkpoint=run.checkpoint(data.description),
        progress=f"{run.method}, seed {run.seed}",
    )
    return data.description, result


def _checksums() -> dict[str, str]:
    is_there = all((agnews.folder() / name).is_file() for name in agnews.OFFICIAL_MD5)
    return agnews.checksums(agnews.folder()) if is_there else {}


experiment = Experiment(
    "adaptive_agnews",
    AGNewsSettings,
    _measure,
    _checksums,
    studies=("sweep", "baseline", "baseline.sweep", "groupings"),
)
