"""What a run runs on."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from mtlutils.errors import InputError
from mtlutils.records import Environment

_LIBRARIES = ("torch", "torchjd", "torchmetrics", "torchtext", "numpy", "scikit-learn")


def device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``"auto"`` is a GPU where there is one.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} is not available here; use 'auto', 'cpu' or 'cuda'") from error
    return torch.device(name)


def describe(device: torch.device) -> Environment:
    """Describe the machine and the libraries."""
    return Environment(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        platform=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES},
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
