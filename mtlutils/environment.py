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


def has_bf16(device: torch.device) -> bool:
    """Return whether a device has instructions for bf16; a processor without them is slower with it."""
    if device.type != "cpu":
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last is ARM's


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        first, _, _ = cpuinfo.read_text().partition("\n\n")
        found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
        if name := found.get("model name"):
            # A virtual machine may call several generations by the same name.
            generation = ", ".join(
                f"{part.split()[-1]} {found[part]}" for part in ("cpu family", "model") if part in found
            )
            return f"{name} ({generation})" if generation else name
    return platform.processor() or platform.machine()
