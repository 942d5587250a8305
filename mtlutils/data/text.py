"""Labelled texts as flat token ids, held on a device."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mtlutils import records


@dataclass(frozen=True)
class TextSplit:
    """N texts, laid end to end.

    Attributes:
        tokens: (total,) Token ids, on the device.
        lengths: (N,) Number of tokens of each text, on the CPU: the bounds of batches are then known without asking
            the device.
        targets: Task name -> (N,) classes, on the device.
    """

    tokens: Tensor
    lengths: Tensor
    targets: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.lengths)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor, Tensor], dict[str, Tensor]]]:
        """Yield every text once, in an order drawn from ``generator``, or as they lie.

        The whole epoch is laid out at once; a batch is a slice of it.

        Yields:
            ``(tokens (n,), offsets (B,))`` and task name -> classes (B,).
        """
        device = self.tokens.device
        tokens, lengths, targets = self.tokens, self.lengths, self.targets
        if generator is not None:
            order = torch.randperm(len(self), generator=generator)
            starts = (lengths.cumsum(0) - lengths)[order]
            lengths = lengths[order]
            # Position of each token of the new order in the old one: a run of consecutive numbers a text.
            shift = (starts - (lengths.cumsum(0) - lengths)).repeat_interleave(lengths)
            tokens = tokens[(torch.arange(len(shift)) + shift).to(device)]
            order = order.to(device)
            targets = {task: classes[order] for task, classes in targets.items()}
        ends = lengths.cumsum(0)
        offsets = (ends - lengths).to(device)
        bounds = [0, *ends[batch_size - 1 :: batch_size].tolist()]
        if len(self) % batch_size:
            bounds.append(int(ends[-1]))
        for i, (begin, end) in enumerate(pairwise(bounds)):
            rows = slice(i * batch_size, (i + 1) * batch_size)
            inputs = (tokens[begin:end], offsets[rows] - begin)
            yield inputs, {task: classes[rows] for task, classes in targets.items()}


@dataclass(frozen=True)
class TextData:
    """A data set of labelled texts, split and on a device.

    Attributes:
        train: What the model learns from.
        validation: Held out of the training rows, stratified by class.
        test: The test rows.
        vocabulary: Token id -> token.
        n_classes: Task name -> number of classes.
        description: What the run record says of it.
    """

    train: TextSplit
    validation: TextSplit
    test: TextSplit
    vocabulary: list[str]
    n_classes: dict[str, int]
    description: records.Data
