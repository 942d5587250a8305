"""What runs will take, from steps that are measured before they start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mtlutils.stopwatch import peak_memory

if TYPE_CHECKING:
    from mtlutils.experiments.experiment import Run, Settings

_MEASURED = 2  # steps, after one that warms up


@dataclass(frozen=True)
class Work:
    """What a run consists of.

    Attributes:
        step: Takes one training step, on made-up data of the shapes of the real ones.
        steps: How many the run takes.
        evaluated: Items that are only evaluated, for each one that is trained on.
    """

    step: Callable[[], object]
    steps: int
    evaluated: float

    @property
    def size(self) -> float:
        """The run's length in training steps: evaluating an item takes a third of training on it."""
        return self.steps * (1 + self.evaluated / 3)


def of(runs: Sequence[Run], work: Callable[[Run, torch.device], Work], device: torch.device) -> str:
    """Say how long runs will take on a device, one after the other, and what memory; runs that differ in their seed
    alone are measured once.
    """
    seconds: dict[tuple[str, Settings], float] = {}
    total = 0.0
    for run in runs:
        kind = run.method, run.settings
        if kind not in seconds:
            each = work(run, device)
            seconds[kind] = each.size * _seconds_a_step(each, device)
        total += seconds[kind]
    (method, settings), longest = max(seconds.items(), key=lambda item: item[1])
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "one CPU process"
    tasks = ", ".join(getattr(settings, "tasks", ()))
    return (
        f"{len(runs)} runs without a record, about {_written(total)} on {where}, one after the other; the longest is "
        f"{method} on {tasks}: {_written(longest)}. Peak memory: {peak_memory(device) / 2**30:.1f} GiB."
    )


def _seconds_a_step(work: Work, device: torch.device) -> float:
    work.step()
    _wait(device)
    start = time.perf_counter()
    for _ in range(_MEASURED):
        work.step()
    _wait(device)
    return (time.perf_counter() - start) / _MEASURED


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _written(seconds: float) -> str:
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
