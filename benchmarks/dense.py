"""What dense prediction costs: balancing methods and networks on images of rooms, and rendering and reading the images.

Run it with ``python benchmarks/dense.py``; ``--help`` lists what can be set. It needs no data set. Every number is a
ratio within this one run to a training step of SegNet with equal weights on segmentation, depth and normals: 1.2 is
20 % more time, or memory. All parts take turns, in an order drawn anew each round; medians and quartiles are over the
rounds' ratios. ``equal, again`` is the same work twice: a smaller difference from 1 says nothing.

A step is one update of the model on a batch of noise. Rendering makes a batch of rooms or streets, with their targets;
reading puts a batch together of images that are on the device already, without augmentation or with it.

Memory is the peak of each part alone in a new process: on a GPU what PyTorch held there, else the resident size less
that of a process that only imports.
"""

from functools import partial
from typing import Any, Literal

import pandas as pd
import torch
import turns
from turns import Options, Parts, Work

from mtlutils import experiments
from mtlutils.data import dense_standin, rooms
from mtlutils.experiments import dense

STEP = "step: segnet, equal"
METHODS = ["uncertainty", "dwa", "rlw", "gradnorm", "split_only", "single_step(alpha=0.0001)"]


def parts(options: Options) -> Parts:
    """Return what is measured."""
    steps = {STEP: partial(step, options), "step: segnet, equal, again": partial(step, options)}
    steps |= {f"step: segnet, {method}": partial(step, options, method=method) for method in METHODS}
    for task in dense.TASKS["nyuv2"]:
        steps[f"step: segnet, {task} alone"] = partial(step, options, tasks=[task])
    for network in ("segnet_mtan", "dilated_resnet", "dilated_resnet_mtan"):
        steps[f"step: {network}, equal"] = partial(step, options, architecture=network)
    for network in ("segnet", "dilated_resnet_mtan"):
        steps[f"step: {network}, equal, bf16"] = partial(step, options, architecture=network, precision="bf16")
        if options.compiled:
            compiled = partial(step, options, architecture=network, precision="bf16", compiled=True)
            steps[f"step: {network}, equal, bf16, compiled"] = compiled
    scenes: tuple[Literal["room", "street"], ...] = ("room", "street")
    rendering = {f"rendering: {scene}": partial(render, options, scene) for scene in scenes}
    reading = {f"reading{', augmented' * augment}": partial(read, options, augment) for augment in (False, True)}
    return steps | rendering | reading


def step(
    options: Options, method: str = "equal", architecture: str = "segnet", compiled: bool = False, **parameters: Any
) -> Work:
    """Prepare training steps as in the experiments."""
    experiment = experiments.load("single_step_dense" if architecture.startswith("segnet") else "rlw_mtan_nyuv2")
    size = {"image_size": options.size, "batch_size": options.batch_size, "width": options.width}
    if not architecture.startswith("segnet"):
        size |= {"layers": options.layers, "aspp_channels": 4 * options.width}
    (run,) = experiment.plan([method], [0], architecture=architecture, **size, **parameters)
    one_step = dense.work(run, options.device, compiled).step

    def work() -> float:
        for _ in range(options.steps):
            one_step()
        return options.steps

    return work


def render(options: Options, scene: Literal["room", "street"]) -> Work:
    """Prepare the rendering of a batch, another one each time."""
    made = 0

    def work() -> float:
        nonlocal made
        height, width = options.size
        rooms.generate(scene, options.batch_size, height, width, seed=0, device=options.device, first=made)
        made += options.batch_size
        return 1

    return work


def read(options: Options, augment: bool) -> Work:
    """Prepare epochs of rooms, shuffled."""
    n, order = 4 * options.batch_size, torch.Generator()
    tasks = dense.TASKS["nyuv2"]
    split = dense_standin.load("room", n, 1, 1, tuple(options.size), tasks, augment, options.device).train
    return lambda: len(list(split.batches(options.batch_size, order)))


def compare(seconds: pd.DataFrame, memory: dict[str, int]) -> pd.DataFrame:
    """Return the ratios to a step."""
    others = [part for part in map(str, seconds) if part != STEP]
    rows = [[part, *turns.quartiles(seconds[part] / seconds[STEP]), memory[part] / memory[STEP]] for part in others]
    return pd.DataFrame(rows, columns=["part", *turns.QUARTILES, "memory"])


def main() -> None:
    """Measure, and print the table."""
    parser = turns.parser(__doc__, batch_size=4, steps=1)
    add = partial(parser.add_argument, type=int, metavar="N")
    add("--size", default=[64, 96], nargs=2, help="height and width (64 96); the papers: 288 384")
    add("--width", default=16, help="of the networks (16); the papers: 64")
    add("--layers", default=[2, 2, 2, 2], nargs=4, help="blocks of the ResNet's stages (2 2 2 2); the paper: 3 4 6 3")
    parser.add_argument("--compiled", action="store_true", help="also with torch.compile, which takes minutes to begin")
    options = parser.parse_args()
    size = "x".join(map(str, options.size))
    turns.start(options, f"networks of width {options.width}, batches of {options.batch_size} images of {size}")
    imports = ["pandas", "torchvision", "mtlutils.experiments.dense", "mtlutils.balancing.single_step"]
    memory, seconds = turns.measure_memory(parts, options, imports), turns.measure_seconds(parts(options), options)
    turns.show(compare(seconds, memory))
    images = {kind: options.batch_size / seconds[f"rendering: {kind}"].median() for kind in ("room", "street")}
    print(f"For reference, {STEP!r}: {seconds[STEP].median():.3g} s, {memory[STEP] / 2**20:.0f} MiB")
    print(f"Rendered: {images['room']:.0f} rooms a second, {images['street']:.0f} streets a second")


if __name__ == "__main__":
    main()
