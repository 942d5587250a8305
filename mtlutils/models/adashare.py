"""AdaShare (Sun et al. 2020)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import RelaxedBernoulli
from torch.nn.functional import logsigmoid

from mtlutils.errors import InputError
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.stages import EncoderFactory, Stages, chosen_stages, feature_shapes, stages_of


class Policy(nn.Module):
    """Which blocks a task runs.

    Args:
        logits: (L,) Of the probabilities to run each block.
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, temperature: Tensor, hard: bool) -> Tensor:
        """Draw how much of each block runs (L,): in (0, 1), or in {0, 1} if hard, with the gradient of the former."""
        soft = RelaxedBernoulli(temperature, logits=self.logits, validate_args=False).rsample()
        return soft + (soft.round() - soft).detach() if hard else soft


class AdaShare(MultiTaskModel):
    r"""One encoder, of which every task learns which blocks to run and which to skip.

    .. math:: x_{l+1} = u_{l,t}\, F_l(x_l) + (1 - u_{l,t})\, x_l, \qquad
              \Omega = \lambda_\mathrm{sp} \sum_{l,t} \ln \alpha_{l,t}
              + \lambda_\mathrm{sh} \sum_{s < t} \sum_l \frac{L - l}{L} |\alpha_{l,s} - \alpha_{l,t}|

    for block l and task t, where u is drawn with probability :math:`\alpha` to be 1. Sun et al. 2020 (*AdaShare:
    learning what to share for efficient deep multi-task learning*), section 3. In training u is relaxed by
    Gumbel-softmax, of two classes and so a relaxed Bernoulli variable; in evaluation it is 1 where :math:`\alpha \ge
    1/2`, and a block with 0 does not run. A block F contains its shortcut, as residual blocks do. Only blocks that keep
    their input's shape can be skipped; all tasks run the others. Blocks count from 0 in :math:`(L - l) / L`, so that
    the last has a weight too.

    The encoder is shared; a task's policy and head are its own, since no other task's loss reaches them. Each asked
    task takes a pass, and batch norms take statistics of each task's features in turn.

    The published code first trains with all blocks, and then the weights and the policies in turns, on separate halves
    of the training data; here both learn from every batch.

    Call :meth:`end_epoch` after every epoch of learning the policies, and :meth:`retrain` when they are learned: as in
    the paper, the network then trains anew, with the policies fixed. Here a task runs the blocks with :math:`\alpha \ge
    1/2`; the paper draws several networks from the policies, and reports the best.

    Args:
        encoder: As in :mod:`mtlutils.models.stages`.
        heads: Task name -> head.
        example: A batch's inputs.
        stages: The blocks that tasks may skip. None: all that keep their input's shape and have parameters.
        probability: :math:`\alpha` at the start, between 0 and 1.
        temperature: Of the relaxation at the start; 5 in the published code.
        decay: Factor of the temperature at the end of an epoch; 0.965 in the published code.
        hard: Whether training rounds u, and takes the gradient as if it did not.
        blocks_per_epoch: Curriculum: how many blocks, the last ones first, have policies in the first epoch, and how
            many more in each next; before that, all tasks run a block. None: all from the start.
        sparsity: :math:`\lambda_\mathrm{sp}`.
        sharing: :math:`\lambda_\mathrm{sh}`.

    Raises:
        InputError: no block can be skipped, or a chosen one changes the shape; or a number is out of range.
    """

    temperature: Tensor
    n_open: int
    """How many blocks, the last ones, policies rule yet."""
    n_epochs: int
    """How many epochs have ended."""
    fixed: dict[str, dict[int, float]] | None
    """Task -> block -> 1 if it runs the block, 0 if not, once the policies are fixed."""

    def __init__(
        self,
        encoder: EncoderFactory,
        heads: Mapping[str, nn.Module],
        *,
        example: Sequence[Any],
        stages: Iterable[int] | None = None,
        probability: float = 0.5,
        temperature: float = 5.0,
        decay: float = 0.965,
        hard: bool = False,
        blocks_per_epoch: int | None = None,
        sparsity: float = 0.05,
        sharing: float = 0.05,
    ) -> None:
        if not (0 < probability < 1 and temperature > 0 and 0 < decay <= 1):
            raise InputError(
                "probability must be between 0 and 1, temperature positive and decay at most 1; "
                f"got {probability}, {temperature} and {decay}"
            )
        if blocks_per_epoch is not None and blocks_per_epoch < 1:
            raise InputError(f"blocks_per_epoch must be 1 or more, or None; got {blocks_per_epoch}")
        own = stages_of(encoder())
        shapes = feature_shapes(own, example)
        kept = [i for i in range(1, len(own)) if shapes[i] == shapes[i - 1]]
        learned = [i for i in kept if any(True for _ in own[i].parameters())]
        blocks = learned if stages is None else chosen_stages(stages, len(own))
        if wrong := [i for i in blocks if i not in kept]:
            raise InputError(f"stage {wrong[0]} cannot be skipped, as it changes the shape; choose among {kept}")
        if not blocks:
            raise InputError("no stage of the encoder keeps the shape of its input, so none can be skipped; use blocks")
        super().__init__(own, heads)
        self.representation = nn.Identity()  # a call that gradient methods can hook
        self.blocks = blocks
        self.decay, self.hard = decay, hard
        self.blocks_per_epoch = blocks_per_epoch
        self.sparsity, self.sharing = sparsity, sharing
        logit = torch.tensor(probability).logit().item()
        self.policies = nn.ModuleDict({task: Policy(torch.full((len(self.blocks),), logit)) for task in heads})
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        # No tensors: a GPU would be waited for at each look.
        self.n_open = min(blocks_per_epoch or len(self.blocks), len(self.blocks))
        self.n_epochs = 0
        self.fixed = None

    def forward(self, *inputs: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return each task's output, or those of some ``tasks`` only."""
        assert isinstance(self.encoder, Stages)
        stages = list(self.encoder)
        first = self.blocks[0]
        before = self.representation(self.encoder.features(*inputs, n=first)[-1])
        outputs = {}
        for task in self.heads if tasks is None else tasks:
            run = self._policy(task)
            x = before
            for number, stage in enumerate(stages[first:], first):
                part = run.get(number, 1.0)
                if isinstance(part, Tensor):
                    x = part * stage(x) + (1 - part) * x
                elif part:
                    x = stage(x)
            outputs[task] = self.heads[task](x)
        return outputs

    def task_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of heads and policies."""
        return chain(self.heads.parameters(), self.policies.parameters())

    def used_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of what some task runs in evaluation: shared stages, chosen blocks, heads."""
        chosen = [self._chosen(policy) for policy in self._policies()]
        skipped = {block for block in chosen[0] if not any(each[block] for each in chosen)}
        stages = (stage for number, stage in enumerate(self.encoder.children()) if number not in skipped)
        return chain(*(stage.parameters() for stage in stages), self.heads.parameters())

    def retrain(self, start: Mapping[str, Tensor]) -> None:
        """Set the network back to a state that it had, and fix the policies as they are: they rule training, too.

        Args:
            start: A copy of its ``state_dict()`` at the start; the policies' part is not used.
        """
        network = {name: value for name, value in start.items() if name.startswith(("encoder.", "heads."))}
        self.load_state_dict(network, strict=False)
        self.fixed = {task: self._chosen(policy) for task, policy in zip(self.heads, self._policies(), strict=True)}

    def penalty(self) -> Tensor | None:
        """Return the penalties, of those blocks that have policies yet, weighted; a scalar. None: they are fixed."""
        if self.fixed is not None:
            return None
        n_blocks, n_open = len(self.blocks), self.n_open
        logits = torch.stack([policy.logits[n_blocks - n_open :] for policy in self._policies()])  # (T, n_open)
        weights = torch.arange(n_open, 0, -1, dtype=logits.dtype, device=logits.device) / n_blocks
        pairs = combinations(logits.sigmoid(), 2)
        different = sum((((one - other).abs() * weights).sum() for one, other in pairs), logits.new_zeros(()))
        return self.sparsity * logsigmoid(logits).sum() + self.sharing * different

    def end_epoch(self) -> None:
        """Lower the temperature, and let policies rule more blocks where there is a curriculum."""
        self.n_epochs += 1
        self.temperature *= self.decay
        if self.blocks_per_epoch is not None:
            self.n_open = min(self.n_open + self.blocks_per_epoch, len(self.blocks))

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside tensors."""
        return {"n_open": self.n_open, "n_epochs": self.n_epochs, "fixed": self.fixed}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_extra_state` returned."""
        self.n_open, self.n_epochs, self.fixed = state["n_open"], state["n_epochs"], state["fixed"]

    def _policies(self) -> list[Policy]:
        return [policy for policy in self.policies.values() if isinstance(policy, Policy)]

    def _policy(self, task: str) -> dict[int, float | Tensor]:
        policy = self.policies[task]
        assert isinstance(policy, Policy)
        if self.fixed is not None:
            return {**self.fixed[task]}
        if not self.training:
            return {**self._chosen(policy)}
        drawn = policy(self.temperature, self.hard)
        return {block: drawn[self.blocks.index(block)] for block in self._open()}

    def _chosen(self, policy: Policy) -> dict[int, float]:
        """Block -> 1 if the task runs it, 0 if not, of those that policies rule yet; all tasks run the others."""
        runs = (policy.logits >= 0).float().tolist()
        return {block: runs[self.blocks.index(block)] for block in self._open()}

    def _open(self) -> list[int]:
        return self.blocks[len(self.blocks) - self.n_open :]
