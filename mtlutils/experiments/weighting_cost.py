"""Huq & Pervin 2022, Table 1: the time that a weighting scheme takes by itself."""

import time
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch.utils.benchmark import Timer

from mtlutils import balancing
from mtlutils.balancing.balancer import Balancer
from mtlutils.errors import InputError
from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.records import Data, Timing
from mtlutils.training import Result


class CostSettings(Settings):
    """Parameters of a measurement."""

    n_tasks: Annotated[int, Field(ge=1)] = Field(5, description="The paper has 5 (CIFAR-100) and 2 (AG News)")
    rounds: Annotated[int, Field(ge=4)] = Field(20, description="Rounds that the spread is taken over")
    calls: Annotated[int, Field(ge=1)] = Field(50, description="Calls a round, of which the mean counts")


def _timer(balancer: Balancer, losses: torch.Tensor) -> Timer:
    # Two ended epochs give the methods with an epoch clock the history that they weigh by from then on.
    try:
        for _ in range(2):
            balancer.combine(losses)
            balancer.end_epoch()
    except NotImplementedError as error:
        raise InputError(f"{error}, so there is no weighting to time; name a method that weighs losses") from error
    variables: dict[str, Any] = {"combine": balancer.combine, "losses": losses}
    return Timer("combine(losses)", globals=variables)


def _measure(run: Run, device: torch.device) -> tuple[Data, Result]:
    """Time the weighting call, losses (T,) in and total out, against equal weighting in alternate rounds."""
    settings = run.settings
    assert isinstance(settings, CostSettings)
    started = time.perf_counter()
    torch.manual_seed(run.seed)
    losses = (torch.rand(settings.n_tasks) + 0.5).to(device).requires_grad_()
    method, equal = (
        _timer(balancing.create(name, n_tasks=settings.n_tasks).to(device), losses) for name in (run.method, "equal")
    )
    for timer in (method, equal):
        timer.timeit(settings.calls)  # warms up caches and, on a GPU, the kernels
    times = np.array([[timer.timeit(settings.calls).mean for timer in (method, equal)] for _ in range(settings.rounds)])
    metrics: dict[str, float | None] = {}
    for name, values in (("seconds", times[:, 0]), ("ratio", times[:, 0] / times[:, 1])):
        for what, share in (("lower_quartile", 0.25), ("median", 0.5), ("upper_quartile", 0.75)):
            metrics[f"{name}/{what}"] = float(np.quantile(values, share))
    seconds = time.perf_counter() - started
    timing = Timing(
        total_seconds=seconds,
        seconds_per_step=None,
        processor_seconds_per_step=None,
        steps=0,
        peak_memory_bytes=None,
        step_memory_bytes=None,
    )
    data = Data(name="none", kind="none", description="no data set: random losses", checksums={}, sizes={})
    return data, Result("completed", "", None, {}, metrics, timing)


experiment = Experiment("weighting_cost", CostSettings, _measure)
