"""The training loop."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mtlutils import checkpoints
from mtlutils.balancing.balancer import Balancer
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel
from mtlutils.records import Timing
from mtlutils.stopwatch import Stopwatch, allocations, peak_memory
from mtlutils.task_losses import TaskLosses, adding_penalty, stacked

if TYPE_CHECKING:
    from torchmetrics import MetricCollection  # takes seconds to import

Batch = tuple[tuple[Any, ...], dict[str, Tensor]]
Schedule = Literal["constant", "one_cycle", "halving"]


class Split(Protocol):
    """A part of a data set, on the device."""

    def __len__(self) -> int:
        """Return the number of items."""

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield the model's inputs and each task's targets, shuffled if there is a generator."""


@dataclass
class Result:
    """What training gave; the fields but the last are those of :class:`mtlutils.records.Record`."""

    status: Literal["completed", "diverged"]
    message: str
    selected_epoch: int | None
    curves: dict[str, list[float | None]]
    metrics: dict[str, float | None]
    timing: Timing
    traces: dict[str, list[float | None]] = field(default_factory=dict)
    predictions: dict[str, np.ndarray] = field(default_factory=dict)
    """Name -> what the trained model makes of some inputs, kept in a file beside the record."""


@dataclass
class _Progress:
    """Everything of the loop that is not in the model, the optimiser or the balancer."""

    epoch: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    processor_seconds: float = 0.0
    steps: int = 0
    step_memory: int | None = None
    best_epoch: int = 0
    best_loss: float = math.inf
    peak_memory: int = 0
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    traces: dict[str, list[float | None]] = field(default_factory=dict)


def train(
    *,
    model: MultiTaskModel,
    balancer: Balancer,
    optimizer: torch.optim.Optimizer,
    losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
    metrics: "Mapping[str, MetricCollection]",
    splits: Mapping[Literal["train", "validation", "test"], Split],
    epochs: int,
    batch_size: int,
    seed: int,
    schedule: Schedule = "constant",
    restart: int = 0,
    precision: Literal["fp32", "bf16"] = "fp32",
    evaluation_batch_size: int = 1024,
    together: "Mapping[str, MetricCollection] | None" = None,
    patience: int | None = None,
    step_length: bool = False,
    step_memory: bool = False,
    trace: int = 0,
    checkpoint: Path | None = None,
    progress: str = "",
) -> Result:
    """Train a model on several tasks, and measure it on the other splits that there are after every epoch.

    The device is the model's. It is read once an epoch, when the epoch's numbers are fetched.

    Args:
        model: Maps a batch's inputs to task name -> output. What it adds to the losses itself, its ``penalty``, enters
            every update of the optimiser, unweighted.
        balancer: Makes one update of the task losses.
        optimizer: Holds the model's parameters and the balancer's.
        losses: Task name -> loss of (output, target); gives the order of the tasks.
        metrics: Task name -> metrics of (output, target).
        splits: The data, on the model's device.
        epochs: Passes over the training rows.
        batch_size: Items a step; an epoch's last batch may be smaller.
        seed: Seed of the order of the training rows.
        schedule: ``"one_cycle"`` (Smith & Topin 2019, with PyTorch's defaults) rises to the optimiser's learning
            rate and falls to almost 0 over the whole training. ``"halving"`` halves the rate after half of it.
        restart: Step at which the schedule starts anew, over the steps that are left; 0: it does not.
        precision: ``"bf16"`` runs the forward pass under autocast.
        evaluation_batch_size: Items at a time in validation and test, or ``batch_size`` where that is more.
        together: Name -> metrics of (outputs, targets) of all tasks at once, whose values stand under that name.
        patience: Stop when the summed validation loss has not improved for this many epochs, and report the epoch
            where it was lowest. None: report the last epoch.
        step_length: Also measure how far each step moves the shared parameters (Euclidean norm); its mean over an
            epoch is the curve ``train/step_length``.
        step_memory: On a CPU, also measure the memory of the second step; the first sets up what stays.
        trace: Number of first steps of which to keep the losses and what else the method lets be recorded (the
            balancer's ``traced``), as ``step/what/task``; nothing where it has nothing more.
        checkpoint: File that takes the state after every epoch but the last. Where it is there already, training goes
            on from it.
        progress: Name beside the progress bar.

    Returns:
        Curves and final metrics, named ``split/what/task``. A loss that is not finite ends training with the status
        ``diverged``, the epochs before it kept and the metrics null.

    Raises:
        InputError: the checkpoint cannot be written, for example because the disk is full; or there is patience, but no
            validation split.
    """
    if patience is not None and "validation" not in splits:
        raise InputError("stopping early needs validation data, and this set has none; set patience to 0")
    tasks = list(losses)
    together = together or {}
    parts: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    measured = [part for part in parts if part in splits]
    device = next(model.parameters()).device
    autocast = torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
    steps_per_epoch = math.ceil(len(splits["train"]) / batch_size)
    scheduler = _scheduler(schedule, optimizer, epochs * steps_per_epoch, restart)
    order = torch.Generator().manual_seed(seed)
    state = _Progress()
    if checkpoint is not None:
        stored = checkpoints.load(checkpoint, device, model, balancer, optimizer, scheduler, order)
        state = state if stored is None else _Progress(**stored)

    @torch.no_grad()
    def evaluate(name: Literal["validation", "test"]) -> dict[str, Tensor]:
        model.eval()
        total = torch.zeros(len(tasks), device=device)
        for metric in [*metrics.values(), *together.values()]:
            metric.reset()
        for inputs, targets in splits[name].batches(max(batch_size, evaluation_batch_size)):
            with autocast:
                outputs = model(*inputs)
            n_items = len(next(iter(targets.values())))
            total += n_items * stacked(losses, outputs, targets)
            for task, metric in metrics.items():
                metric.update(outputs[task], targets[task])
            for metric in together.values():
                metric.update(outputs, targets)
        values = {f"{name}/loss/{task}": value for task, value in zip(tasks, total / len(splits[name]), strict=True)}
        for task, metric in [*metrics.items(), *together.items()]:
            values |= {f"{name}/{what}/{task}": value for what, value in metric.compute().items()}
        return values

    optimizer.register_step_pre_hook(adding_penalty(model))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # of what ran before in this process
    status: Literal["completed", "diverged"] = "completed"
    message = ""
    bar = tqdm(initial=state.epoch, total=epochs, desc=progress, unit="epoch", delay=2, leave=False, file=sys.stderr)
    with bar:
        while state.epoch < epochs:
            started = time.perf_counter()
            stopwatch = Stopwatch(device)
            model.train()
            loss_sum = torch.zeros(len(tasks), device=device)
            weight_sum = torch.zeros(len(tasks), device=device)
            length_sum = torch.zeros((), device=device)
            traced: dict[str, list[Tensor]] = {}
            for inputs, targets in splits["train"].batches(batch_size, order):
                before = _flat(model.shared_parameters()) if step_length else None
                closure = TaskLosses(model, losses, autocast, inputs, targets)
                if step_memory and state.steps == 1 and device.type == "cpu":
                    with allocations() as highest:
                        step_losses = balancer.step(closure, model, optimizer)
                    state.step_memory = highest()
                else:
                    step_losses = balancer.step(closure, model, optimizer)
                loss_sum += step_losses
                if before is not None:
                    length_sum += torch.dist(_flat(model.shared_parameters()), before)
                if balancer.weights is not None:
                    weight_sum += balancer.weights
                if balancer.traced and state.steps < trace:
                    for name, value in {"loss": step_losses, **balancer.traced}.items():
                        traced.setdefault(name, []).append(value)
                scheduler.step()
                state.steps += 1
            balancer.end_epoch()
            model.end_epoch()
            stopwatch.stop()

            values = {f"train/loss/{task}": loss for task, loss in zip(tasks, loss_sum / steps_per_epoch, strict=True)}
            if balancer.weights is not None:
                weights = zip(tasks, weight_sum / steps_per_epoch, strict=True)
                values |= {f"train/weight/{task}": weight for task, weight in weights}
            if step_length:
                values["train/step_length"] = length_sum / steps_per_epoch
            for part in measured:
                values |= evaluate(part)
            fetched = torch.stack([value.float() for value in values.values()]).tolist()
            numbers = {name: _rounded(number, 7) for name, number in zip(values, fetched, strict=True)}

            for name, number in numbers.items():
                state.curves.setdefault(name, []).append(number if math.isfinite(number) else None)
            for name, steps in traced.items():
                for task, each in zip(tasks, torch.stack(steps, dim=1).tolist(), strict=True):
                    trajectory = state.traces.setdefault(f"step/{name}/{task}", [])
                    trajectory += [_rounded(number, 4) if math.isfinite(number) else None for number in each]
            state.epoch += 1
            state.peak_memory = max(state.peak_memory, peak_memory(device))
            state.training_seconds += stopwatch.seconds()
            state.processor_seconds += stopwatch.processor_seconds
            state.seconds += time.perf_counter() - started
            bar.update()

            broken = [name for name, number in numbers.items() if "/loss/" in name and not math.isfinite(number)]
            if broken:
                status, message = "diverged", f"epoch {state.epoch}: {broken[0]} is not finite"
                tqdm.write(f"{progress}: diverged at {message}; what was measured before is kept", file=sys.stderr)
                break
            if patience is None:
                state.best_epoch = state.epoch
            elif (loss := sum(numbers[f"validation/loss/{task}"] for task in tasks)) < state.best_loss:
                state.best_epoch, state.best_loss = state.epoch, loss
            elif state.epoch - state.best_epoch >= patience:
                message = f"stopped early after epoch {state.epoch}"
                break
            if checkpoint is not None and state.epoch < epochs:
                checkpoints.save(checkpoint, vars(state), model, balancer, optimizer, scheduler, order)

    finished = status == "completed"
    final = {name: (curve[state.best_epoch - 1] if finished else None) for name, curve in state.curves.items()}
    return Result(
        status=status,
        message=message,
        selected_epoch=state.best_epoch if finished else None,
        curves=state.curves,
        metrics={name: value for name, value in final.items() if not name.startswith("train/")},
        timing=Timing(
            total_seconds=state.seconds,
            seconds_per_step=state.training_seconds / state.steps,
            processor_seconds_per_step=state.processor_seconds / state.steps if device.type == "cpu" else None,
            steps=state.steps,
            peak_memory_bytes=state.peak_memory,
            step_memory_bytes=state.step_memory,
        ),
        traces=state.traces,
    )


def _scheduler(
    schedule: str, optimizer: torch.optim.Optimizer, steps: int, restart: int = 0
) -> torch.optim.lr_scheduler.LRScheduler:
    if 0 < restart < steps:
        rates = [group["lr"] for group in optimizer.param_groups]
        parts = []
        for n in (restart, steps - restart):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # the schedule before has set its first one
            parts.append(_scheduler(schedule, optimizer, n))
        return torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[restart])
    if schedule == "constant" or steps == 1:  # a cycle of one step would be at its end, with a rate of almost 0
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    if schedule == "halving":
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[(steps + 1) // 2], gamma=0.5)
    groups = optimizer.param_groups
    # Momentum cycles against the learning rate, where there is momentum.
    cycles = all(group.get("momentum") for group in groups)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=[group["lr"] for group in groups], total_steps=steps, cycle_momentum=cycles
    )


def _rounded(number: float, digits: int) -> float:
    """Round to what is worth keeping: seven digits are all that a float32 has."""
    return float(f"{number:.{digits}g}")


def _flat(parameters: Iterable[nn.Parameter]) -> Tensor:
    # torch's own parameters_to_vector refuses the channels-last layout.
    return torch.cat([parameter.detach().flatten() for parameter in parameters])
