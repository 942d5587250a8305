"""What runs will take, from steps that are measured before they start."""

from __future__ import annotations

import math
import os
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
        data_bytes: Bytes of the data, which lie on the device beside what a step needs.
    """

    step: Callable[[], object]
    steps: int
    evaluated: float
    data_bytes: int = 0

    @property
    def size(self) -> float:
        """The run's length in training steps: evaluating an item takes a third of training on it."""
        return self.steps * (1 + self.evaluated / 3)


def of(runs: Sequence[Run], work: Callable[[Run, torch.device], Work], device: torch.device) -> str:
    """Say how long runs will take on a device, one after the other, and what memory; runs that differ in their seed
    alone are measured once.
    """
    seconds: dict[tuple[str, Settings], float] = {}
    total, data_bytes = 0.0, 0
    for run in runs:
        kind = run.method, run.settings
        if kind not in seconds:
            each = work(run, device)
            seconds[kind] = each.size * _seconds_a_step(each, device)
            data_bytes = max(data_bytes, each.data_bytes)
        total += seconds[kind]
    (method, settings), longest = max(seconds.items(), key=lambda item: item[1])
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "one CPU process"
    tasks = ", ".join(getattr(settings, "tasks", ()))
    return (
        f"{len(runs)} runs without a record, about {_written(total)} on {where}, one after the other; the longest is "
        f"{method} on {tasks}: {_written(longest)}. {_memory(peak_memory(device) + data_bytes, device)}"
    )


def _memory(needed: int, device: torch.device) -> str:
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).total_memory
    else:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = f"Peak memory, data included: {needed / 2**30:.1f} of {there / 2**30:.0f} GiB"
    return f"{text}, which it does not fit." if needed > there else f"{text}."


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
