"""What training on CIFAR-100's five tasks (Huq & Pervin 2022) costs: weighting methods, data pipelines, bf16.

Run it with ``python benchmarks/cifar100.py``; ``--help`` lists what can be set. It needs no data set, since time does
not depend on what is in an image.

Every number is a ratio between two parts of this one run: 1.2 is 20 % more time, or memory, than what the part is
compared with. All parts take turns, in an order drawn anew each round, so that a slower spell of the machine meets all
of them alike. The median and the quartiles are over the rounds' ratios. ``equal, again`` does what it is compared with:
a ratio no further from 1 than its quartiles says nothing.

A step is one update of the model, its batch already on the device. A batch is read, shuffled, cropped, mirrored,
normalised and put on the device; its ratio to a step, if it has no workers, is the time it adds. Workers prepare batches
during the step, and make it wait where their ratio to it is above 1. They start before the first round.

Memory is each part's peak alone in a process: what PyTorch held on a GPU; else the process's resident size less that of
one which only imported the same. There it is not given with workers: they share pages with the process.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from tqdm import tqdm

from mtlutils import balancing, environment
from mtlutils.balancing.balancer import Balancer
from mtlutils.data.cifar100 import N_CLASSES
from mtlutils.data.images import ImageSplit
from mtlutils.errors import InputError
from mtlutils.models import wide_resnet

METHODS = ["uncertainty", "revised_uncertainty", "dwa", "adaptive", "adaptive(detach=false)", "adaptive(every=epoch)"]
STEP, BATCH = "step: equal", "batch: ImageSplit"

Work = Callable[[], int]
"""Does a round's share of a part's work, and returns the number of images."""


def parts(options: argparse.Namespace) -> dict[str, Callable[[], Work]]:
    """Return what is compared: name -> what prepares its work."""
    names = {STEP: "equal", "step: equal, again": "equal"} | {f"step: {method}": method for method in METHODS}
    # The balancers now, so that their imports count as imports.
    steps = {name: partial(step, options, balancing.create(method, len(N_CLASSES))) for name, method in names.items()}
    steps["step: equal, bf16"] = partial(step, options, balancing.create("equal", len(N_CLASSES)), bf16=True)
    loaders = {f"batch: torchvision, {n} workers": partial(torchvision_epoch, options, n) for n in options.workers}
    return steps | {BATCH: partial(image_split_epoch, options)} | loaders


def image_split(options: argparse.Namespace, device: torch.device | str) -> ImageSplit:
    """Return random images and labels, to be augmented as in training."""
    images = torch.randint(256, (options.images, 32, 32, 3), dtype=torch.uint8)
    targets = {task: torch.randint(n, (options.images,)).to(device) for task, n in N_CLASSES.items()}
    mean, std = torch.full((2, 3), 127.5, device=device)
    return ImageSplit(images.to(device), targets, mean, std, padding=4)


def step(options: argparse.Namespace, balancer: Balancer, bf16: bool = False) -> Work:
    """Prepare training steps as in the experiment."""
    device = options.device
    model = wide_resnet(options.depth, options.width, N_CLASSES).to(device, memory_format=torch.channels_last)
    balancer.to(device)
    # The learning rate is small: on random labels, a larger one could end in infinities.
    optimizer = torch.optim.SGD([*model.parameters(), *balancer.parameters()], lr=1e-4, momentum=0.9)
    (images,), targets = next(image_split(options, device).batches(options.batch_size, torch.Generator()))
    autocast = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()

    def losses() -> Tensor:
        with autocast:
            outputs = model(images)
        return torch.stack([cross_entropy(outputs[task].float(), targets[task]) for task in N_CLASSES])

    for _ in range(2):  # from then on, the methods with an epoch clock have the history that they weigh by
        balancer.step(losses, model, optimizer)
        balancer.end_epoch()

    def work() -> int:
        for _ in range(options.steps):
            balancer.step(losses, model, optimizer)
        return options.steps * options.batch_size

    return work


def image_split_epoch(options: argparse.Namespace) -> Work:
    """Prepare epochs of this project's batches."""
    split, order = image_split(options, options.device), torch.Generator()
    return lambda: sum(len(images) for (images,), _ in split.batches(options.batch_size, order))


class PILImages(Dataset[tuple[Tensor, Tensor]]):
    """Images that go through PIL one by one, as in torchvision's own data sets, and their targets (T,)."""

    def __init__(self, split: ImageSplit) -> None:
        self.pixels = split.images.numpy()
        self.targets = torch.stack(list(split.targets.values()), dim=1)
        normalize = transforms.Normalize((split.mean / 255).tolist(), (split.std / 255).tolist())
        augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose([*augment, transforms.ToTensor(), normalize])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(Image.fromarray(self.pixels[index])), self.targets[index]


def torchvision_epoch(options: argparse.Namespace, workers: int) -> Work:
    """Prepare epochs of the usual batches."""
    device = options.device
    loader = DataLoader(
        PILImages(image_split(options, "cpu")),
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )

    def work() -> int:
        for images, targets in loader:
            images.to(device, non_blocking=True, memory_format=torch.channels_last)
            targets.to(device, non_blocking=True)
        return options.images

    return work


def peak_memory(options: argparse.Namespace, part: str) -> int:
    """Do a part's work, or for ``"imports"`` nothing, and return this process's peak of memory in bytes."""
    torch.set_num_threads(options.threads)
    prepare = parts(options).get(part)
    if prepare:
        prepare()()
    if options.device.type == "cuda":
        return torch.cuda.max_memory_allocated(options.device)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def measure_memory(options: argparse.Namespace) -> dict[str, float]:
    """Return part -> bytes, each in a new process. A process inherits the peak of its parent's, so this comes first."""
    # A fork of a process that has only imported is quick, but not safe on macOS.
    context = get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([Path(__file__).stem])
    peaks = {}
    for part in tqdm(["imports", *parts(options)], desc="memory", unit="part", delay=2, leave=False):
        with ProcessPoolExecutor(1, mp_context=context) as process:
            peaks[part] = process.submit(peak_memory, options, part).result()
    imports = peaks.pop("imports")
    return {part: peak - imports for part, peak in peaks.items()}


def measure_seconds(options: argparse.Namespace) -> pd.DataFrame:
    """Return the seconds a batch, one row a round, one column a part."""
    work = {part: prepare() for part, prepare in parts(options).items()}
    rows = []
    with tqdm(total=(options.rounds + 1) * len(work), desc="time", unit="part", delay=2, leave=False) as bar:
        for _ in range(options.rounds + 1):
            row = {}
            for part in random.sample(list(work), len(work)):
                started = time.perf_counter()
                images = work[part]()
                if options.device.type == "cuda":
                    torch.cuda.synchronize(options.device)
                row[part] = (time.perf_counter() - started) / images * options.batch_size
                bar.update()
            rows.append(row)
    return pd.DataFrame(rows[1:])  # the first round warms up


def compare(memory: dict[str, float], seconds: pd.DataFrame) -> pd.DataFrame:
    """Return the table: every step and every way to a batch against the first of its kind, and batches against steps."""
    steps, batches = ([part for part in seconds if part.startswith(kind)] for kind in ("step", "batch"))
    pairs = [(part, STEP) for part in steps[1:]] + [(part, BATCH) for part in batches[1:]]
    rows = []
    for part, baseline in pairs + [(part, STEP) for part in batches]:
        ratio = seconds[part] / seconds[baseline]
        low, median, high = ratio.quantile([0.25, 0.5, 0.75])
        rows.append([part, baseline, low, median, high, memory[part] / memory[baseline]])
    columns = ["part", "compared with", "time: lower quartile", "median", "upper quartile", "memory"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = partial(parser.add_argument, type=int, metavar="N")
    add("--depth", default=10, help="of the wide residual network (10); the paper: 28")
    add("--width", default=1, help="of the wide residual network (1); the paper: 10")
    add("--batch-size", default=128, help="images a batch (128)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (auto)")
    add("--threads", default=1, help="of the process on the CPU; a worker has one (1)")
    add("--rounds", default=10, help="rounds that the quartiles are over (10)")
    add("--steps", default=5, help="training steps a round (5)")
    add("--images", default=2560, help="images an epoch; a round has one epoch (2560)")
    add("--workers", nargs="*", default=[0, 2], help="of torchvision's pipeline; 0 is none (0 2)")
    options = parser.parse_args()
    if min(options.batch_size, options.threads, options.rounds, options.steps) < 1 or min(options.workers, default=0) < 0:
        parser.error("numbers start at 1, those of workers at 0")
    if options.images < options.batch_size:
        parser.error("--images must be at least --batch-size")
    try:
        options.device = environment.device(options.device)
        wide_resnet(options.depth, options.width, N_CLASSES)
    except InputError as error:
        parser.error(str(error))

    torch.set_num_threads(options.threads)
    place = environment.describe(options.device)
    print(
        f"{options.device} ({place.device}), threads: {options.threads}, torch {torch.__version__}, "
        f"WRN-{options.depth}-{options.width}, batches of {options.batch_size}",
        flush=True,
    )
    memory, seconds = measure_memory(options), measure_seconds(options)
    table = compare(memory, seconds)
    print(table.to_string(index=False, float_format="{:#.3g}".format, na_rep="-"))
    reference = f"{seconds[STEP].median():.3g} s and {memory[STEP] / 2**20:.0f} MiB"
    print(f"For reference, {STEP!r} took {reference}, on a machine that may have been busy with other things too.")


if __name__ == "__main__":
    main()
