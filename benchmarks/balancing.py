"""What a training step costs by balancing method, beside TorchJD's own backward pass, for several numbers of tasks.

Run it with ``python benchmarks/balancing.py``; ``--help`` lists what can be set. Unlike what it says there, 2 rounds
are made, on the CPU, so that all of it takes some five minutes on a quiet core. It needs no data set. Every number is a
ratio within this one run to a step of a plain loop with the same number of tasks T: ``zero_grad``, forward,
``losses.sum().backward()``, ``step``. 1.2 is 20 % more time, or memory. All parts take turns, in an order drawn anew
each round; medians and quartiles are over the rounds' ratios. ``plain, again`` is the same work twice: a smaller
difference from 1 says nothing. Time is that of the processor, which other processes hardly change; on a GPU, the
clock's.

The network has an encoder of three convolutions (3×3 to 32, 64 and 128 channels), each with max pooling by 2 and ReLU,
and a fully connected layer of 256 with ReLU, 617,792 shared parameters in all; a head is one linear layer. Images are
noise, 32×32 in three channels, already on the device.

Each registered method runs with its defaults, and once more on the gradients of the representation where it can.
``torchjd`` is the time, ``torchjd: memory`` the memory, of ``torchjd.autojac``'s ``mtl_backward`` and ``jac_to_grad``
with the aggregator of the same method. ``least`` is the fewest passes that a method can do with, as a formula in T.
Each kind of pass is timed by itself in the same rounds; ``predicted`` is what they add up to, and ``measured /
predicted`` how many times as long the method takes. Not counted are arithmetic on gradients and weights, and Python.

    F   forward through the encoder, with a graph
    N   forward through the encoder, without one
    B   backward through the encoder to its parameters
    L   backward to the encoder's last weight and no further
    C   backward from a loss to the encoder's parameters, leaving a graph
    D   backward through such a graph: second derivatives times a vector
    h   forward through all heads, with the losses
    b   backward through all heads, to their parameters and the representation
    U   the optimiser's update of all parameters

``time <=`` and ``memory <=`` are what this package aims at, ``met`` whether the method keeps to both. Every method that
weighs losses has the same aim, those too whose further passes may not leave it in reach, as ``famo`` and ``gradnorm``.
Another method with passes that no aim allows for has none for its time; ``measured / predicted`` then says how well it
does.

Memory is the peak of each method alone in a new process: on a GPU what PyTorch held there, else the resident size less
that of a process that only imports.
"""

import time
import warnings
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from math import isnan, nan
from typing import Any

import pandas as pd
import torch
import torchjd.aggregation
import turns
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchjd.aggregation import Aggregator
from torchjd.autojac import jac_to_grad, mtl_backward
from turns import Options, Parts, Work

from mtlutils import balancing
from mtlutils.balancing import Method
from mtlutils.balancing.balancer import Balancer
from mtlutils.balancing.gradient_method import GradientMethod
from mtlutils.models import MultiTaskModel
from mtlutils.task_losses import TaskLosses

PLAIN = "plain"
AGAIN = f"{PLAIN}, again"
REPRESENTATION = "(gradients=representation)"
TORCHJD = "torchjd: "

PASSES = list("FNBLCDhbU")
ORDINARY = "F+h+b+B+U"
LEAST = {
    "none": ORDINARY,
    "1 forward": f"{ORDINARY}+N+h",
    "heads": f"{ORDINARY}+T*L",
    "T - 1 backward": "F+h+b+T*B+U",
    # Each task's gradient with a graph, then the penalty's through all of these, which ends in the forward pass' graph
    # once rather than T times. The gradient of the losses' sum is that of the tasks' own.
    "3T - 1 backward": "F+h+b+T*(C+D)-(T-1)*B+U",
    # The encoder's update; then that of the heads, with the new encoder.
    "1 forward + heads": f"{ORDINARY}+N+h+b",
    # The temporary steps, each task's loss after its own, and the heads' update as above.
    "T + 1 forward, 2T - 1 backward + heads": "F+h+b+T*B+T*(F+B)+h+b+U+N+h+b",
}
"""Extra passes, as in the registry -> the fewest passes of all."""

AGGREGATORS: dict[str, Callable[[int], Aggregator]] = {
    "aligned_mtl": lambda n_tasks: torchjd.aggregation.AlignedMTL(),
    "cagrad": lambda n_tasks: torchjd.aggregation.CAGrad(c=0.4),
    "config": lambda n_tasks: torchjd.aggregation.ConFIG(),
    "graddrop": lambda n_tasks: torchjd.aggregation.GradDrop(),
    "gradvac": lambda n_tasks: torchjd.aggregation.GradVac(beta=0.01),
    "imtl_g": lambda n_tasks: torchjd.aggregation.IMTLG(),
    "mgda": lambda n_tasks: torchjd.aggregation.MGDA(),
    "nash_mtl": lambda n_tasks: torchjd.aggregation.NashMTL(n_tasks),
    "pcgrad": lambda n_tasks: torchjd.aggregation.PCGrad(),
    "random": lambda n_tasks: torchjd.aggregation.Random(),
    "upgrad": lambda n_tasks: torchjd.aggregation.UPGrad(),
}


def parts(options: Options) -> Parts:
    """Return the steps, ``T method`` for each number of tasks T."""
    made: Parts = {}
    for n in options.tasks:
        made |= {f"{n} {name}": partial(plain, options, n) for name in (PLAIN, AGAIN)}
        for name in options.methods:
            # The balancers now, so that their imports count as imports.
            balancer = balancing.create(name, n)
            made[f"{n} {name}"] = partial(step, options, balancer)
            if isinstance(balancer, GradientMethod):
                cheaper = balancing.create(name, n, gradients="representation")
                made[f"{n} {name}{REPRESENTATION}"] = partial(step, options, cheaper)
            if name in AGGREGATORS:
                made[f"{n} {TORCHJD}{name}"] = partial(torchjd_step, options, AGGREGATORS[name](n), n)
    return made


def network(options: Options, n_tasks: int) -> tuple[MultiTaskModel, Tensor, dict[str, Tensor]]:
    """Return the network, a batch of images and each task's classes."""
    device, n_images = options.device, options.batch_size
    layout = torch.channels_last if options.channels_last else torch.contiguous_format

    def block(n_in: int, n_out: int) -> list[nn.Module]:
        return [nn.Conv2d(n_in, n_out, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]

    encoder = nn.Sequential(
        *(*block(3, 32), *block(32, 64), *block(64, 128)),  # (B, 128, 4, 4)
        *(nn.Flatten(), nn.Linear(2048, 256), nn.ReLU()),
    )
    model = MultiTaskModel(encoder, {str(task): nn.Linear(256, 10) for task in range(n_tasks)})
    images = torch.randn(n_images, 3, 32, 32, device=device).contiguous(memory_format=layout)
    classes = {task: torch.randint(10, (n_images,), device=device) for task in model.heads}
    return model.to(device, memory_format=layout), images, classes


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    """Return an optimiser whose learning rate is small: on random labels, a larger one could end in infinities."""
    return torch.optim.SGD(module.parameters(), lr=1e-4)


def plain(options: Options, n_tasks: int) -> Work:
    """Prepare the training steps that all others are compared with."""
    model, images, classes = network(options, n_tasks)
    optimizer = sgd(model)

    def one_step() -> None:
        optimizer.zero_grad()
        outputs = model(images)
        losses = torch.stack([cross_entropy(outputs[task], target) for task, target in classes.items()])
        losses.sum().backward()
        optimizer.step()

    return partial(_repeated, options.steps, one_step)


def step(options: Options, balancer: Balancer) -> Work:
    """Prepare training steps with a balancer."""
    model, images, classes = network(options, balancer.n_tasks)
    optimizer = sgd(nn.ModuleList([model, balancer.to(options.device)]))
    losses = dict.fromkeys(classes, cross_entropy)

    def one_step() -> None:
        balancer.step(TaskLosses(model, losses, nullcontext(), (images,), classes), model, optimizer)

    return partial(_repeated, options.steps, one_step)


def torchjd_step(options: Options, aggregator: Aggregator, n_tasks: int) -> Work:
    """Prepare training steps as TorchJD's documentation writes them."""
    model, images, classes = network(options, n_tasks)
    optimizer = sgd(model)

    def one_step() -> None:
        optimizer.zero_grad()
        features = model.encoder(images)
        losses = [cross_entropy(model.heads[task](features), target) for task, target in classes.items()]
        mtl_backward(losses, features, parallel_chunk_size=options.chunk)
        jac_to_grad(model.shared_parameters(), aggregator)
        optimizer.step()

    return partial(_repeated, options.steps, one_step)


def passes(options: Options, n_tasks: int) -> Parts:
    """Return each kind of pass with T tasks, ``T pass``."""
    model, images, classes = network(options, n_tasks)
    encoder, heads = list(model.shared_parameters()), list(model.task_parameters())
    last_weight = [parameter for parameter in encoder if parameter.dim() > 1][-1:]
    copies = deepcopy(model)  # a kept graph wants its parameters unchanged
    for parameter in copies.parameters():
        parameter.grad = torch.zeros_like(parameter)
    update = sgd(copies)

    def losses(representation: Tensor) -> Tensor:
        return torch.stack([cross_entropy(model.heads[task](representation), classes[task]) for task in classes])

    # Graphs that are kept, for the backward passes to be repeated on.
    representation = model.encoder(images)  # (B, 256)
    ones = torch.ones_like(representation)
    leaf = representation.detach().requires_grad_()
    total = losses(leaf).sum()
    loss = losses(representation)[0]
    gradients = torch.autograd.grad(loss, encoder, create_graph=True)
    grad = partial(torch.autograd.grad, retain_graph=True)
    each: dict[str, Callable[[], object]] = {
        "F": lambda: model.encoder(images),
        "N": torch.no_grad()(lambda: model.encoder(images)),
        "B": lambda: grad(representation, encoder, ones),
        "L": lambda: grad(representation, last_weight, ones),
        "C": lambda: grad(loss, encoder, create_graph=True),
        "D": lambda: grad(gradients, encoder, encoder),
        "h": lambda: losses(leaf),
        "b": lambda: grad(total, [leaf, *heads]),
        "U": update.step,
    }
    return {f"{n_tasks} {name}": partial(partial, _repeated, options.steps, once) for name, once in each.items()}


def _repeated(times: int, once: Callable[[], object]) -> float:
    # TorchJD's problem for Nash bargaining is compiled at every solution, which the solver warns of.
    with warnings.catch_warnings(action="ignore"):
        for _ in range(times):
            once()
    return times


def measure_seconds(parts: Parts, options: Options) -> pd.DataFrame:
    """Return the processor's seconds that each part (column) takes for a batch in each round (row)."""
    on_gpu = options.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    times: dict[str, list[float]] = {part: [] for part in parts}

    def timed(part: str, prepare: Callable[[], Work]) -> Work:
        work = prepare()

        def with_clock() -> float:
            started = clock()
            n_batches = work()
            if on_gpu:
                torch.cuda.synchronize(options.device)
            times[part].append((clock() - started) / n_batches)
            return n_batches

        return with_clock

    turns.measure_seconds({part: partial(timed, part, prepare) for part, prepare in parts.items()}, options)
    return pd.DataFrame(times)[1:]  # the first round warms up


def aims(method: Method, representation: bool, n_tasks: int) -> tuple[float, float]:
    """Return the most time and memory that a step is to take, as ratios; nan where there is no such aim."""
    exact = method.family in ("gradients", "updates") and not representation
    memory = nan if exact and n_tasks >= 20 else 1.5
    if method.family == "losses":
        return 1.1, memory
    of_gradients = {3: 1.3, 20: 1.5} if representation else {3: 2.0, 20: 9.0}
    return of_gradients.get(n_tasks, nan) if method.passes == "T - 1 backward" else nan, memory


def compare(seconds: pd.DataFrame, memory: dict[str, int]) -> pd.DataFrame:
    """Return each method's ratios to the plain loop, to its least count of passes and to what is aimed at."""
    known = {method.name: method for method in balancing.methods()}
    rows = []
    for part in memory:
        number, label = part.split(maxsplit=1)
        baseline = f"{number} {PLAIN}"
        if part == baseline or label.startswith(TORCHJD):
            continue
        name = label.removesuffix(REPRESENTATION)
        times = seconds[part] / seconds[baseline]
        row: dict[str, Any] = {
            "T": number,
            "method": label,
            **dict(zip(turns.QUARTILES, turns.quartiles(times), strict=True)),
        }
        least = ORDINARY if name == AGAIN or name != label else LEAST.get(known[name].passes, "")
        if least:
            of_passes = seconds[[f"{number} {one}" for one in PASSES]].set_axis(PASSES, axis=1)
            predicted = of_passes.assign(T=int(number)).eval(least)
            row["predicted"] = (predicted / seconds[baseline]).median()
            row["measured / predicted"] = (seconds[part] / predicted).median()
        row["memory"] = memory[part] / memory[baseline]
        if name == label and (theirs := f"{number} {TORCHJD}{name}") in memory:
            row["torchjd"] = (seconds[theirs] / seconds[baseline]).median()
            row["torchjd: memory"] = memory[theirs] / memory[baseline]
        most_time, most_memory = (nan, nan) if name == AGAIN else aims(known[name], name != label, int(number))
        row |= {"time <=": most_time, "memory <=": most_memory}
        kept = [x <= most for x, most in ((times.median(), most_time), (row["memory"], most_memory)) if not isnan(most)]
        row |= {"met": ("yes" if all(kept) else "no") if kept else nan, "least": least or nan}
        rows.append(row)
    columns = ["T", "method", *turns.QUARTILES, "time <=", "memory", "memory <=", "met", "predicted"]
    return pd.DataFrame(rows, columns=[*columns, "measured / predicted", "torchjd", "torchjd: memory", "least"])


def parser() -> ArgumentParser:
    """Return the parser of what can be set."""
    made = turns.parser(__doc__, batch_size=64, steps=1)
    made.set_defaults(rounds=2, device="cpu")
    add = made.add_argument
    add("--tasks", default=[3, 20], type=int, nargs="+", metavar="N", help="numbers of tasks (3 20)")
    names = balancing.names()
    add("--methods", default=names, choices=names, nargs="+", metavar="NAME", help="registered names (all)")
    chunk = "tasks that TorchJD differentiates at a time (all, which is its default)"
    add("--chunk", default=None, type=int, metavar="N", help=chunk)
    layout = "images and convolutions in this order, which most CPUs pool faster; PyTorch's default is the other"
    add("--channels-last", action="store_true", help=layout)
    return made


def main() -> None:
    """Measure, and print the table."""
    options = parser().parse_args()
    turns.start(options, f"617,792 shared parameters, batches of {options.batch_size}")
    modules = [method.where.partition(":")[0] for method in balancing.methods()]
    memory = turns.measure_memory(parts, options, ["pandas", "cvxpy", *modules])
    of_passes = [passes(options, n) for n in options.tasks]
    seconds = measure_seconds(parts(options) | {name: one for each in of_passes for name, one in each.items()}, options)
    turns.show(compare(seconds, memory))
    for n in options.tasks:
        part = f"{n} {PLAIN}"
        print(f"For reference, {PLAIN!r}, T={n}: {seconds[part].median():.3g} s, {memory[part] / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
