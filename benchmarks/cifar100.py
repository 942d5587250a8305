"""What training on CIFAR-100's five tasks (Huq & Pervin 2022) costs: weighting methods, data pipelines and bf16.

Run it with ``python benchmarks/cifar100.py``; ``--help`` lists what can be set. It needs no data set. Every number is a
ratio within this one run: 1.2 is 20 % more time, or memory, than what a part is compared with. All parts take turns, in
an order drawn anew each round; medians and quartiles are over the rounds' ratios. ``equal, again`` is the same work
twice: a smaller difference from 1 says nothing.

A step is one update of the model, its batch already on the device. A batch is read, shuffled, cropped, mirrored,
normalised and put on the device; compared with a step, it is the time that it adds to one. Workers, which start in a
round that does not count, prepare batches meanwhile: the step waits for them where that ratio is above 1.

Memory is the peak of each part alone in a new process: on a GPU what PyTorch held there, else the resident size less
that of a process that only imports. A dash: workers share pages with their parent, so theirs would count twice.
"""

import math
from functools import partial

import pandas as pd
import torch
import turns
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from turns import Options, Parts, Work

from mtlutils import balancing
from mtlutils.balancing.balancer import Balancer
from mtlutils.data.cifar100 import N_CLASSES
from mtlutils.data.images import ImageSplit
from mtlutils.models import wide_resnet

METHODS = ["uncertainty", "revised_uncertainty", "dwa", "adaptive", "adaptive(detach=false)", "adaptive(every=epoch)"]
STEP, BATCH = "step: equal", "batch: ImageSplit"


def parts(options: Options) -> Parts:
    """Return what is measured."""
    names = {STEP: "equal", "step: equal, again": "equal"} | {f"step: {method}": method for method in METHODS}
    # The balancers now, so that their imports count as imports.
    steps = {name: partial(step, options, balancing.create(method, len(N_CLASSES))) for name, method in names.items()}
    steps["step: equal, bf16"] = partial(step, options, balancing.create("equal", len(N_CLASSES)), bf16=True)
    loaders = {f"batch: torchvision, workers: {n}": partial(epoch, options, n) for n in options.workers}
    return steps | {BATCH: partial(epoch, options)} | loaders


def random_images(options: Options, device: torch.device) -> ImageSplit:
    """Return images to be augmented as in the experiment."""
    images = torch.randint(256, (options.images, 32, 32, 3), dtype=torch.uint8)
    targets = {task: torch.randint(n, (options.images,)).to(device) for task, n in N_CLASSES.items()}
    mean, std = torch.full((2, 3), 127.5, device=device)
    return ImageSplit(images.to(device), targets, mean, std, padding=4)


def step(options: Options, balancer: Balancer, bf16: bool = False) -> Work:
    """Prepare training steps as in the experiment."""
    device = options.device
    model = wide_resnet(options.depth, options.width, N_CLASSES).to(device, memory_format=torch.channels_last)
    # A small learning rate: on random labels, a larger one could end in infinities.
    optimizer = torch.optim.SGD([*model.parameters(), *balancer.to(device).parameters()], lr=1e-4, momentum=0.9)
    (images,), targets = next(random_images(options, device).batches(options.batch_size, torch.Generator()))

    def losses() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            outputs = model(images)
        return torch.stack([cross_entropy(outputs[task].float(), targets[task]) for task in N_CLASSES])

    def work(n_steps: int = options.steps) -> float:
        for _ in range(n_steps):
            balancer.step(losses, model, optimizer)
        return n_steps * len(images) / options.batch_size

    for _ in range(2):  # epochs, the history that some methods weigh by
        work(1)
        balancer.end_epoch()
    return work


class PILImages(Dataset[tuple[Tensor, Tensor]]):
    """Images that pass through PIL one by one, as in torchvision's own data sets, with their targets (T,)."""

    def __init__(self, split: ImageSplit) -> None:
        self.pixels, self.targets = split.images.numpy(), torch.stack(list(split.targets.values()), dim=1)
        augment = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        normalize = transforms.Normalize((split.mean / 255).tolist(), (split.std / 255).tolist())
        self.transform = transforms.Compose([*augment, transforms.ToTensor(), normalize])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(Image.fromarray(self.pixels[index])), self.targets[index]


def epoch(options: Options, workers: int | None = None) -> Work:
    """Prepare epochs of this project's batches or, given a number of workers, of the usual ones."""
    device = options.device
    if workers is None:
        split, order = random_images(options, device), torch.Generator()
        return lambda: sum(len(batch) for (batch,), _ in split.batches(options.batch_size, order)) / options.batch_size
    images = PILImages(random_images(options, torch.device("cpu")))
    kept = {"pin_memory": device.type == "cuda", "persistent_workers": workers > 0}
    loader = DataLoader(images, options.batch_size, shuffle=True, num_workers=workers, **kept)

    def work() -> float:
        for batch, targets in loader:
            batch.to(device, non_blocking=True, memory_format=torch.channels_last)
            targets.to(device, non_blocking=True)
        return len(images) / options.batch_size

    return work


def compare(seconds: pd.DataFrame, memory: dict[str, int]) -> pd.DataFrame:
    """Return the ratios: steps and batches to the first of their kind, and batches to a step."""
    steps, batches = ([part for part in seconds if part.startswith(kind)] for kind in ("step", "batch"))
    pairs = [(part, STEP) for part in steps[1:]] + [(part, BATCH) for part in batches[1:]]
    rows = []
    for part, baseline in pairs + [(part, STEP) for part in batches]:
        times = turns.quartiles(seconds[part] / seconds[baseline])
        rows.append([part, baseline, *times, memory.get(part, math.nan) / memory[baseline]])
    return pd.DataFrame(rows, columns=["part", "compared with", *turns.QUARTILES, "memory"])


def main() -> None:
    """Measure, and print the table."""
    parser = turns.parser(__doc__, batch_size=128, steps=5)
    add = partial(parser.add_argument, type=int, metavar="N")
    add("--depth", default=10, help="of the wide residual network (10); the paper: 28")
    add("--width", default=1, help="of the wide residual network (1); the paper: 10")
    add("--images", default=2560, help="in an epoch; a round has one of each pipeline (2560)")
    add("--workers", default=[0, 2], nargs="*", help="of torchvision's pipeline, one part a number; 0 is none (0 2)")
    options = parser.parse_args()
    turns.start(options, f"WRN-{options.depth}-{options.width}, batches of {options.batch_size}")
    imports = ["pandas", "torchvision", "mtlutils.balancing.dwa", "mtlutils.data.cifar100"]
    counted = [n for n in options.workers if n == 0 or options.device.type == "cuda"]
    alone = Options(**vars(options) | {"steps": 1, "workers": counted})
    memory, seconds = turns.measure_memory(parts, alone, imports), turns.measure_seconds(parts(options), options)
    turns.show(compare(seconds, memory))
    print(f"For reference, {STEP!r}: {seconds[STEP].median():.3g} s, {memory[STEP] / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
