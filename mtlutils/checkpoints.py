"""The state of a training that is under way, in one file."""

import sys
from pathlib import Path
from typing import Any

import torch

from mtlutils import folders
from mtlutils.errors import InputError


def save(path: Path, progress: dict[str, Any], *parts: Any) -> None:
    """Write a training's progress, the states of its parts and of the random numbers.

    Raises:
        InputError: the file cannot be written, for example because the disk is full.
    """
    stored = {"progress": progress, "rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        stored["cuda_rng"] = torch.cuda.get_rng_state()
    states = [part.get_state() if isinstance(part, torch.Generator) else part.state_dict() for part in parts]
    try:
        with folders.replacing(path) as temporary:
            torch.save(stored | {"states": states}, temporary)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: the checkpoint cannot be written ({error}); free space, or set MTLUTILS_CACHE to a folder with "
            "room, and run the same command again"
        ) from error


def load(path: Path, device: torch.device, *parts: Any) -> dict[str, Any] | None:
    """Give the parts, in the same order, their states back, and return the progress; None without a readable file."""
    if not path.exists():
        return None
    try:
        stored = torch.load(path, map_location=device, weights_only=True)
        progress, states = stored["progress"], stored["states"]
    except Exception as error:  # whatever a cut file raises: training from the start is right, only longer
        print(f"{path}: not a readable checkpoint ({type(error).__name__}); training starts again", file=sys.stderr)
        return None
    for part, part_state in zip(parts, states, strict=True):
        if isinstance(part, torch.Generator):
            part.set_state(part_state.cpu())  # random states lie on the CPU, a GPU's too
        else:
            part.load_state_dict(part_state)
    torch.set_rng_state(stored["rng"].cpu())
    if torch.cuda.is_available() and "cuda_rng" in stored:
        torch.cuda.set_rng_state(stored["cuda_rng"].cpu())
    return dict(progress)
