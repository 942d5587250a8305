"""What a piece of work costs: time and memory."""

import resource
import sys
import time

import torch


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
