"""What a training step costs by method on Multi-MNIST (Lee & Son 2020), for several numbers of tasks.

Run it with ``python benchmarks/single_step.py``; ``--help`` lists what can be set. It needs no data set. Every number
is a ratio within this one run to the step of ``equal`` with the same number of tasks T: 1.2 is 20 % more time, or
memory. All parts take turns, in an order drawn anew each round; medians and quartiles are over the rounds' ratios.
``equal, again`` is the same work twice: a smaller difference from 1 says nothing.

A step is one update of the LeNet, its batch already on the device. ``least`` is the fewest passes that a method can do
with, as a formula in T. Each kind of pass is timed by itself in the same rounds; ``predicted`` is what they add up to,
and ``measured / predicted`` how many times as long the method takes. Not counted is what is small here: arithmetic on
gradients and weights, and Python. Passes through the encoder:

    F   forward, with a graph
    N   forward, without one
    B   backward to its parameters
    L   backward to its last layer's weight and no further
    C   backward from a loss to its parameters, leaving a graph: what can be differentiated again
    D   backward through such a graph: second derivatives times a vector
    U   the optimiser's update

and through a head:

    h   forward, with the loss
    r   backward to the representation
    p   backward to its parameters
    rp  backward to both
    u   the optimiser's update

Memory is the peak of each method alone in a new process: on a GPU what PyTorch held there, else the resident size less
that of a process that only imports.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from copy import deepcopy
from functools import partial

import pandas as pd
import torch
import turns
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from turns import Options, Parts, Work

from mtlutils import balancing
from mtlutils.balancing.balancer import Balancer
from mtlutils.data.images import ImageSplit
from mtlutils.models import MultiTaskModel, lenet
from mtlutils.task_losses import TaskLosses

LEAST = {
    "equal": "F+B+U+T*(h+rp+u)",
    "uncertainty": "F+B+U+T*(h+rp+u)",
    # The encoder's update, which needs no gradient of the heads' parameters; then the heads', with the new encoder.
    "split_only": "F+T*(h+r)+B+U+N+T*(h+p+u)",
    # Each head is passed once: the gradient of its representation serves the last layer and, weighted, the encoder.
    "gradnorm": "F+T*(h+rp+L)+B+U+T*u",
    "pareto_mtl": "F+T*(h+rp+B)+U+T*u",
    # The temporary steps; each task's loss at its own encoder; then the heads' update as in split_only.
    "single_step": "F+T*(h+r+B)+T*(F+h+r+B)+U+N+T*(h+p+u)",
    "single_step(second_order=true)": "F+T*(h+C)+T*(F+h+r+B+D)+U+N+T*(h+p+u)",
}
STEP = "equal"
AIMS = {
    "single_step": ("measured / predicted", {2: 1.1, 3: 1.1, 20: 1.1}),
    "gradnorm": ("median", {2: 1.3, 20: 2.0}),
}
"""Method -> the column that is to be no more than what is given for a number of tasks."""


def methods(options: Options) -> Parts:
    """Return each method's steps, ``T method`` for each number of tasks T."""
    names = {STEP: STEP, f"{STEP}, again": STEP} | {method: method for method in LEAST if method != STEP}
    # The balancers now, so that their imports count as imports.
    return {
        f"{n} {name}": partial(step, options, balancing.create(method, n))
        for n in options.tasks
        for name, method in names.items()
    }


def network(options: Options, n_tasks: int) -> tuple[MultiTaskModel, Tensor, dict[str, Tensor]]:
    """Return the network, a batch of images and each task's classes, as in the experiment."""
    device, n_images = options.device, options.batch_size
    model = lenet({str(task): 10 for task in range(n_tasks)}).to(device, memory_format=torch.channels_last)
    pixels = torch.randint(256, (n_images, 36, 36, 1), dtype=torch.uint8, device=device)
    classes = {task: torch.randint(10, (n_images,), device=device) for task in model.heads}
    split = ImageSplit(pixels, classes, torch.zeros(1, device=device), torch.full((1,), 255.0, device=device))
    (images,), targets = next(split.batches(n_images))
    return model, images, targets


def step(options: Options, balancer: Balancer) -> Work:
    """Prepare training steps as in the experiment."""
    model, images, targets = network(options, balancer.n_tasks)
    # A small learning rate: on random labels, a larger one could end in infinities.
    parameters = [*model.parameters(), *balancer.to(options.device).parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1e-4)
    losses = dict.fromkeys(targets, cross_entropy)

    def work() -> float:
        for _ in range(options.steps):
            closure = TaskLosses(model, losses, nullcontext(), (images,), targets)
            balancer.step(closure, model, optimizer)
        return options.steps

    return work


def passes(options: Options) -> Parts:
    """Return each kind of pass; through a head, it goes through every head of the largest network in turn."""
    model, images, targets = network(options, max(options.tasks))
    encoder, heads = list(model.shared_parameters()), list(model.task_parameters())
    last_layer = [parameter for parameter in encoder if parameter.dim() > 1][-1:]
    update_encoder, update_heads = (_update(parameters) for parameters in (encoder, heads))

    def losses(representation: Tensor, tasks: Iterable[str] = targets) -> Tensor:
        return torch.stack([cross_entropy(model.heads[task](representation), targets[task]) for task in tasks])

    # Graphs that are kept, for the backward passes to be repeated on.
    representation = model.encoder(images)  # (B, 50)
    ones = torch.ones_like(representation)
    leaf = representation.detach().requires_grad_()
    total = losses(leaf).sum()
    loss = losses(representation, list(targets)[:1])
    gradients = torch.autograd.grad(loss, encoder, create_graph=True)
    grad = partial(torch.autograd.grad, retain_graph=True)

    whole: dict[str, Callable[[], object]] = {
        "F": lambda: model.encoder(images),
        "N": torch.no_grad()(lambda: model.encoder(images)),
        "B": lambda: grad(representation, encoder, ones),
        "L": lambda: grad(representation, last_layer, ones),
        "C": lambda: grad(loss, encoder, create_graph=True),
        "D": lambda: grad(gradients, encoder, encoder),
        "U": update_encoder,
    }
    each: dict[str, Callable[[], object]] = {
        "h": lambda: losses(leaf),
        "r": lambda: grad(total, leaf),
        "p": lambda: grad(total, heads),
        "rp": lambda: grad(total, [leaf, *heads]),
        "u": update_heads,
    }
    of_encoder = {name: partial(_repeated, options.steps, once) for name, once in whole.items()}
    return of_encoder | {name: partial(_repeated, options.steps, once, len(targets)) for name, once in each.items()}


def _update(parameters: list[nn.Parameter]) -> Callable[[], object]:
    copies = deepcopy(parameters)  # a kept graph wants its parameters unchanged
    optimizer = torch.optim.SGD(copies, lr=1e-4)
    for parameter in copies:
        parameter.grad = torch.zeros_like(parameter)
    return optimizer.step


def _repeated(times: int, once: Callable[[], object], n_passes: int = 1) -> Work:
    def work() -> float:
        for _ in range(times):
            once()
        return times * n_passes

    return work


def compare(seconds: pd.DataFrame, memory: dict[str, int]) -> pd.DataFrame:
    """Return each method's ratios to ``equal`` and to its least count of passes."""
    of_passes = seconds.drop(columns=list(memory))
    rows = []
    for part in memory:
        n_tasks, method = part.split(maxsplit=1)
        baseline = f"{n_tasks} {STEP}"
        if part != baseline:
            least = LEAST[method.removesuffix(", again")]
            predicted = of_passes.assign(T=int(n_tasks)).eval(least)
            times = turns.quartiles(seconds[part] / seconds[baseline])
            row = {
                "T": n_tasks,
                "method": method,
                **dict(zip(turns.QUARTILES, times, strict=True)),
                "predicted": (predicted / seconds[baseline]).median(),
                "measured / predicted": (seconds[part] / predicted).median(),
            }
            column, most = AIMS.get(method, ("", {}))
            if aim := most.get(int(n_tasks)):
                row |= {"aim": f"{column}<={aim}".replace(" ", ""), "met": "yes" if row[column] <= aim else "no"}
            rows.append(row | {"memory": memory[part] / memory[baseline], "least": least})
    columns = ["T", "method", *turns.QUARTILES, "predicted", "measured / predicted", "aim", "met", "memory", "least"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    """Measure, and print the table."""
    parser = turns.parser(__doc__, batch_size=256, steps=2)
    numbers = "numbers of tasks (2 3 20)"
    parser.add_argument("--tasks", default=[2, 3, 20], type=int, nargs="+", metavar="N", help=numbers)
    options = parser.parse_args()
    turns.start(options, f"LeNet, batches of {options.batch_size}")
    slow = ["mtlutils.training", "mtlutils.balancing.uncertainty", "mtlutils.balancing.pareto_mtl"]
    memory = turns.measure_memory(methods, options, ["pandas", *slow])
    seconds = turns.measure_seconds(methods(options) | passes(options), options)
    turns.show(compare(seconds, memory))
    for n_tasks in options.tasks:
        part = f"{n_tasks} {STEP}"
        print(f"For reference, {STEP!r}, T={n_tasks}: {seconds[part].median():.3g} s, {memory[part] / 2**20:.0f} MiB")
    shares = seconds.drop(columns=list(memory)).div(seconds[f"{options.tasks[0]} {STEP}"], axis=0).median()
    print(f"Passes, compared with the first of these: {', '.join(f'{name} {x:.2g}' for name, x in shares.items())}")


if __name__ == "__main__":
    main()
