"""What the benchmarks share: parts that take turns, the peak memory of each, and how both are asked for and printed.

The parts are all prepared in one process and do their work in an order drawn anew each round. Ratios are of times in
the same round; medians and quartiles are over the rounds.
"""

import os
import random
import resource
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pandas as pd
import torch
from tqdm import tqdm

from mtlutils import environment

Options = Namespace
Work = Callable[[], float]  # does a part's share of a round, and returns for how many batches
Parts = dict[str, Callable[[], Work]]  # name -> what prepares the work


def parser(description: str | None, *, batch_size: int, steps: int) -> ArgumentParser:
    """Return a parser of what every benchmark lets be set, with the defaults of this one."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    add = partial(made.add_argument, type=int, metavar="N")
    add("--batch-size", default=batch_size, help=f"images a batch ({batch_size})")
    add("--threads", default=1, help="of this process on the CPU (1)")
    add("--rounds", default=10, help="that medians and quartiles are over (10)")
    add("--steps", default=steps, help=f"training steps a round ({steps})")
    add("--device", default="auto", type=str, metavar="NAME", help="auto, cpu or cuda (auto)")
    return made


def start(options: Options, what: str) -> None:
    """Set the device and the number of threads, and print them and ``what`` is measured."""
    options.device = environment.device(options.device)
    torch.set_num_threads(options.threads)
    place = f"{options.device} ({environment.describe(options.device).device}), threads: {options.threads}"
    print(f"{place}, torch {torch.__version__}, {what}", flush=True)


def measure_seconds(parts: Parts, options: Options) -> pd.DataFrame:
    """Return the seconds that each part (column) takes for a batch in each round (row)."""
    work = {part: prepare() for part, prepare in parts.items()}
    times: dict[str, list[float]] = {part: [] for part in work}
    turns = [part for _ in range(options.rounds + 1) for part in random.sample(list(work), len(work))]
    for part in tqdm(turns, desc="time", unit="part", delay=2, leave=False):
        started = time.perf_counter()
        n_batches = work[part]()
        if options.device.type == "cuda":
            torch.cuda.synchronize(options.device)
        times[part].append((time.perf_counter() - started) / n_batches)
    return pd.DataFrame(times)[1:]  # the first round warms up


def measure_memory(parts: Callable[[Options], Parts], options: Options, imports: list[str]) -> dict[str, int]:
    """Return the peak bytes of each part in a new process, without its imports'.

    Args:
        parts: Returns the parts; a function of the script's.
        options: What it is called with.
        imports: The slow ones, which are then made once for all processes.
    """
    # glibc then gives back at once what is freed. Otherwise a peak differs by a tenth from one process to the next.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "131072")
    # A fork of a process that has only imported is quick, but not safe on macOS.
    context = get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([*imports, "torch._dynamo"])  # which the first optimiser imports
    peaks = {}
    for part in tqdm(["imports", *parts(options)], desc="memory", unit="part", delay=2, leave=False):
        with ProcessPoolExecutor(1, mp_context=context) as process:
            peaks[part] = process.submit(_peak_memory, parts, options, part).result()
    base = peaks.pop("imports")
    return {part: peak - base for part, peak in peaks.items()}


def _peak_memory(parts: Callable[[Options], Parts], options: Options, part: str) -> int:
    """Do a part's work, none if there is no such part, and return this process's peak in bytes."""
    torch.set_num_threads(options.threads)
    if prepare := parts(options).get(part):
        prepare()()
    if options.device.type == "cuda":
        return torch.cuda.max_memory_allocated(options.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


QUARTILES = ["time: lower quartile", "median", "upper quartile"]


def quartiles(ratios: pd.Series) -> list[float]:
    """Return a row's entries under :data:`QUARTILES`."""
    return list(ratios.quantile([0.25, 0.5, 0.75]))


def show(table: pd.DataFrame) -> None:
    """Print a table, its numbers with three digits, a dash where there is none."""
    print(table.to_string(index=False, float_format="{:#.3g}".format, na_rep="-"))
