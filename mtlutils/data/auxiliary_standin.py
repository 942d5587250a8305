"""A main task with a helpful, a useless and a harmful auxiliary task, generated: the truth is known."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtlutils import records
from mtlutils.errors import InputError

TASKS = ("main", "helpful", "useless", "harmful")


@dataclass(frozen=True)
class VectorSplit:
    """N vectors of D numbers.

    Attributes:
        inputs: (N, D), on the device.
        targets: Task name -> (N, 1), on the device.
    """

    inputs: Tensor
    targets: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor], dict[str, Tensor]]]:
        """Yield every vector once, in an order drawn from ``generator``, or as they lie.

        Yields:
            ``(inputs (B, D),)`` and task name -> targets (B, 1).
        """
        n = len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        for rows in order.to(self.inputs.device).split(batch_size):
            yield (self.inputs[rows],), {task: values[rows] for task, values in self.targets.items()}


@dataclass(frozen=True)
class AuxiliaryData:
    """The generated data, split and on a device.

    Attributes:
        train: What the model learns from.
        validation: For the choice of tasks and ratios.
        test: For the final numbers.
        direction: (D,) u, on the device.
        description: What the run record says of it.
    """

    train: VectorSplit
    validation: VectorSplit
    test: VectorSplit
    direction: Tensor
    description: records.Data


def load(
    n_train: int = 60,
    n_validation: int = 400,
    n_test: int = 1000,
    n_features: int = 20,
    noise: float = 1.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> AuxiliaryData:
    r"""Generate regression on x ~ N(0, I) of D numbers, with a direction u of length 1 that nobody is told.

    - ``main``: :math:`y = u \cdot x + \sigma \epsilon`, of which few rows say little;
    - ``helpful``: the same without most of the noise, :math:`u \cdot x + 0.1\, \sigma \epsilon'`;
    - ``useless``: noise alone, with the variance of y;
    - ``harmful``: :math:`-y`, its sign turned. It harms where the tasks have their output in common; a head of its own
      could turn the sign back, and the task would be the main one once more.

    The loss is meant to be the squared error. No model can have less than :math:`\sigma^2` in the main task. A smaller
    split is the beginning of a larger one.

    Args:
        n_train: Number of training rows.
        n_validation: Number of validation rows.
        n_test: Number of test rows.
        n_features: D.
        noise: :math:`\sigma`, where the signal has a standard deviation of 1.
        seed: Seed of everything that is drawn.
        device: Where the tensors are put.

    Raises:
        InputError: a number is not positive, or noise is negative.
    """
    n_rows = {"train": n_train, "validation": n_validation, "test": n_test}
    if min(n_features, *n_rows.values()) < 1 or not noise >= 0:
        raise InputError(
            "numbers of rows and features must be positive and noise not negative; "
            f"got {n_rows}, {n_features} features and noise {noise}"
        )
    of_direction, *of_splits = (np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(4))
    direction = of_direction.standard_normal(n_features)
    direction /= math.sqrt((direction**2).sum())
    arrays = {
        split: _generate(rng, n, direction, noise) for (split, n), rng in zip(n_rows.items(), of_splits, strict=True)
    }

    def split(name: str) -> VectorSplit:
        inputs, targets = arrays[name]
        on_device = {task: torch.from_numpy(values).to(device) for task, values in targets.items()}
        return VectorSplit(torch.from_numpy(inputs).to(device), on_device)

    description = records.Data(
        name="auxiliary tasks",
        kind="stand-in",
        description=f"stand-in: regression on {n_features} features, noise {noise:g}, generated for each seed",
        checksums={name: _digest(*each) for name, each in arrays.items()},
        sizes=n_rows,
    )
    u = torch.from_numpy(direction.astype(np.float32)).to(device)
    return AuxiliaryData(split("train"), split("validation"), split("test"), u, description)


def _generate(
    rng: np.random.Generator, n: int, direction: np.ndarray, noise: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    # Rounded, since the last digit of a sum depends on the processor, and the checksum is recorded.
    drawn = rng.standard_normal((n, len(direction) + 3)).round(4)  # all draws of a row together
    inputs, (own, helpful, useless) = drawn[:, :-3], drawn[:, -3:].T
    signal = (inputs * direction).sum(axis=1)
    main = signal + noise * own
    targets = {
        "main": main,
        "helpful": signal + 0.1 * noise * helpful,
        "useless": math.sqrt(1 + noise**2) * useless,
        "harmful": -main,
    }
    return inputs.astype(np.float32), {task: y.round(4).astype(np.float32)[:, None] for task, y in targets.items()}


def _digest(inputs: np.ndarray, targets: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(inputs).tobytes())
    for task in TASKS:
        digest.update(targets[task].tobytes())
    return f"sha256:{digest.hexdigest()}"
