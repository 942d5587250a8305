"""What a piece of work costs: time and memory."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


class Stopwatch:
    """Time from now to :meth:`stop`, on the device's own clock where it runs asynchronously.

    Attributes:
        processor_seconds: Processor time of all threads of this process; on a CPU it says what work cost also where
            other work had a share of the processor.
    """

    def __init__(self, device: torch.device) -> None:
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else None
        if self.events:
            self.events[0].record()
        self.started, self.processor_started = time.perf_counter(), time.process_time()
        self.elapsed = self.processor_seconds = 0.0

    def stop(self) -> None:
        """End what is timed."""
        if self.events:
            self.events[1].record()
        self.elapsed = time.perf_counter() - self.started
        self.processor_seconds = time.process_time() - self.processor_started

    def seconds(self) -> float:
        """Return the seconds between; to be asked once the device has been waited for."""
        return self.events[0].elapsed_time(self.events[1]) / 1000 if self.events else self.elapsed


def peak_memory(device: torch.device) -> int:
    """Return the peak bytes that PyTorch held on an accelerator, or that this process had resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


@contextmanager
def allocations() -> Iterator[Callable[[], int]]:
    """Count the bytes that PyTorch allocates and frees on the CPU meanwhile.

    Yields:
        A function that returns, afterwards, the most that was allocated at a time beyond what there was before.
    """
    events: list[Any] = []
    with _quiet():
        profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        profiler.start()
        try:
            yield lambda: _highest(events)
        finally:
            profiler.stop()
    # The events that PyTorch itself draws its timeline of memory from; it has no public name for them.
    results: Any = profiler.profiler
    events += [event for event in results.kineto_results.events() if event.name() == "[memory]"]


def _highest(events: list[Any]) -> int:
    held = highest = 0
    for event in sorted(events, key=lambda each: each.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the profiler, which writes to the process's standard error past Python."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
