"""AutoSeM (Guo, Pasunuru & Bansal 2019): which auxiliary tasks to train on, and in what mixture.

Two stages over plain functions, which train and measure: a bandit selects tasks, then a Gaussian process finds the
mixing ratio of those selected. The bandit is that of the published code. For the second stage the code refers to
libraries of Bayesian optimisation, so that its settings are choices made here.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern
from torch import Tensor

from mtlutils.balancing.balancer import Balancer, Closure
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel

Ratios = tuple[int, ...]
Acquisition = Literal["expected_improvement", "upper_confidence_bound"]


class TaskSelection:
    r"""The first stage: a bandit whose arms are tasks, by Thompson sampling, for rewards whose chances change.

    The utility of task k, the chance that training on it pays, is :math:`q_k \sim \mathrm{Beta}(\alpha_k,
    \beta_k)`. Of one draw a task, the largest decides what is trained on next. It brings the reward r, 1 where the main
    task's validation metric is no worse than before, or 0. All tasks are then forgotten a little, towards the prior,
    and the one that was trained on learns:

    .. math:: \alpha_k \leftarrow (1 - \gamma)\, \alpha_k + \gamma \alpha_0 + [k = \text{chosen}]\; r, \qquad
              \beta_k \leftarrow (1 - \gamma)\, \beta_k + \gamma \beta_0 + [k = \text{chosen}]\, (1 - r)

    With :math:`\gamma = 0` nothing is forgotten: the usual bandit. The memory is of some :math:`1 / \gamma` rewards. In
    the published code the main task is an arm as well; here it is if it is among the tasks.

    Args:
        tasks: Their names.
        decay: :math:`\gamma`, from 0 to 1. The published code has 0.3.
        prior: :math:`\alpha_0` and :math:`\beta_0`, positive; 1 and 1 is uniform.
        seed: Seed of the draws, or their generator.

    Raises:
        InputError: no task, a name twice, or a number out of its range.
    """

    alpha: np.ndarray
    """(T,) α of each task."""

    beta: np.ndarray
    """(T,) β of each task."""

    history: list[tuple[str, bool]]
    """Each task that was trained on, with its reward."""

    def __init__(
        self,
        tasks: Sequence[str],
        decay: float = 0.3,
        prior: tuple[float, float] = (1.0, 1.0),
        seed: int | np.random.Generator = 0,
    ) -> None:
        if not tasks or len(set(tasks)) < len(tasks):
            raise InputError(f"tasks must be one or more different names, got {', '.join(tasks) or 'none'}")
        if not 0 <= decay <= 1 or not min(prior) > 0:
            raise InputError(f"decay must be from 0 to 1 and the prior positive, got {decay} and {prior}")
        self.tasks = list(tasks)
        self.decay = decay
        self.prior = prior
        self.alpha, self.beta = (np.full(len(tasks), each, dtype=float) for each in prior)
        self.history = []
        self._rng = np.random.default_rng(seed)

    def choose(self) -> str:
        """Draw the task to train on next."""
        return self.tasks[int(np.argmax(self._rng.beta(self.alpha, self.beta)))]

    def update(self, task: str, reward: bool) -> None:
        """Learn from one reward.

        Raises:
            InputError: there is no such task.
        """
        if task not in self.tasks:
            raise InputError(f"there is no task {task!r}; there are: {', '.join(self.tasks)}")
        self.alpha, self.beta = (
            (1 - self.decay) * now + self.decay * before
            for now, before in zip((self.alpha, self.beta), self.prior, strict=True)
        )
        learning = self.alpha if reward else self.beta
        learning[self.tasks.index(task)] += 1
        self.history.append((task, bool(reward)))

    def run(self, reward: Callable[[str], bool], n_steps: int) -> list[str]:
        """Choose, train and learn for some steps, and go on from there when called again.

        Args:
            reward: Trains on a task, for a few batches, and says whether the main task's validation metric is no worse
                than before.
            n_steps: Number of rewards.

        Returns:
            The tasks selected, by :meth:`selected`.
        """
        for _ in range(n_steps):
            task = self.choose()
            self.update(task, reward(task))
        return self.selected()

    def utilities(self) -> dict[str, float]:
        """Return each task's expected utility, α / (α + β)."""
        return dict(zip(self.tasks, (self.alpha / (self.alpha + self.beta)).tolist(), strict=True))

    def selected(self, threshold: float | None = None) -> list[str]:
        """Return the tasks whose expected utility is above a threshold, the most useful first.

        Args:
            threshold: None: the prior's mean, which is that of a task that nothing is remembered of. The published code
                prints the estimates and leaves the choice open.
        """
        least = self.prior[0] / sum(self.prior) if threshold is None else threshold
        utilities = self.utilities()
        # A rounding error above the prior is nothing that was learnt.
        above = [task for task, utility in utilities.items() if utility > least + 1e-9]
        return sorted(above, key=lambda task: -utilities[task])


class MixingRatios:
    r"""The second stage: Bayesian optimisation of the ratio in which batches of the tasks alternate.

    The candidates are all ratios of small integers, the first task's at least 1; 2:2 is 1:1, and is not another. Of
    their shares, which sum to 1, the objective is taken to be a Gaussian process with a Matérn 5/2 kernel. It is
    evaluated at some ratios drawn at random, and then where the acquisition function is largest; for a maximum, with
    the posterior's mean :math:`\mu` and deviation s, and the best value so far f*:

    .. math:: \mathrm{EI} = (\mu - f^*)\, \Phi(z) + s\, \phi(z), \quad z = \frac{\mu - f^*}{s}, \qquad
              \mathrm{UCB} = \mu + \kappa s

    No ratio is evaluated twice. A value that is not finite, such as of a run that diverged, counts as the worst of the
    finite ones.

    Args:
        n_tasks: Number of tasks T, the main one first.
        largest: Largest integer of a ratio; 0 leaves an auxiliary task out. The number of candidates grows as its T-th
            power.
        n_initial: Ratios drawn at random to begin with. None: T + 1.
        acquisition: EI or UCB.
        kappa: :math:`\kappa`; the larger, the more UCB explores.
        noise: Variance of the objective's noise, where that of its values is 1.
        seed: Seed of the draws, or their generator.

    Raises:
        InputError: an option out of its range.
    """

    evaluated: dict[Ratios, float]
    """What the objective was at each ratio so far, in the order of evaluation."""

    def __init__(
        self,
        n_tasks: int,
        largest: int = 4,
        n_initial: int | None = None,
        acquisition: Acquisition = "expected_improvement",
        kappa: float = 2.0,
        noise: float = 1e-4,
        seed: int | np.random.Generator = 0,
    ) -> None:
        n_initial = n_tasks + 1 if n_initial is None else n_initial
        if min(n_tasks, largest, n_initial) < 1 or not noise > 0 or not kappa >= 0:
            raise InputError(
                "n_tasks, largest, n_initial and noise must be positive and kappa not negative, "
                f"got {n_tasks}, {largest}, {n_initial}, {noise} and {kappa}"
            )
        if acquisition not in ("expected_improvement", "upper_confidence_bound"):
            raise InputError(
                f"acquisition must be 'expected_improvement' or 'upper_confidence_bound', got {acquisition!r}"
            )
        counts = itertools.product(range(1, largest + 1), *[range(largest + 1)] * (n_tasks - 1))
        self.candidates: list[Ratios] = [ratios for ratios in counts if math.gcd(*ratios) == 1]
        self.n_initial = n_initial
        self.acquisition = acquisition
        self.kappa = kappa
        self.noise = noise
        self.evaluated = {}
        self._rng = np.random.default_rng(seed)

    def suggest(self) -> Ratios:
        """Return the ratio to evaluate next.

        Raises:
            InputError: all have been evaluated.
        """
        left = [ratios for ratios in self.candidates if ratios not in self.evaluated]
        if not left:
            raise InputError(f"all {len(self.candidates)} ratios have been evaluated; choose a larger `largest`")
        values = np.array(list(self.evaluated.values()))
        finite = np.isfinite(values)
        if len(values) < self.n_initial or not finite.any():
            return left[self._rng.integers(len(left))]
        values = np.where(finite, values, values[finite].min())
        mean, deviation = self._posterior(_shares(list(self.evaluated)), values, _shares(left))
        if self.acquisition == "upper_confidence_bound":
            return left[int(np.argmax(mean + self.kappa * deviation))]
        gain, deviation = mean - values.max(), np.maximum(deviation, np.finfo(float).tiny)
        z = gain / deviation
        return left[int(np.argmax(gain * norm.cdf(z) + deviation * norm.pdf(z)))]

    def update(self, ratios: Ratios, value: float) -> None:
        """Learn the objective's value at one ratio.

        Raises:
            InputError: the ratio is not among the candidates, or has been evaluated.
        """
        if ratios not in self.candidates or ratios in self.evaluated:
            raise InputError(f"{ratios} is not a ratio that is left to evaluate; take one from suggest()")
        self.evaluated[ratios] = float(value)

    def run(self, objective: Callable[[Ratios], float], n_evaluations: int) -> Ratios:
        """Evaluate more ratios, as many as are left at most, and return the best of all.

        Args:
            objective: What is to be large: trains with the given number of batches of each task in turn, and measures
                the main task on validation data.
            n_evaluations: Number of evaluations.

        Raises:
            InputError: as for :meth:`best`.
        """
        for _ in range(min(n_evaluations, len(self.candidates) - len(self.evaluated))):
            ratios = self.suggest()
            self.update(ratios, objective(ratios))
        return self.best()

    def best(self) -> Ratios:
        """Return the ratio with the largest value so far.

        Raises:
            InputError: no value is finite, or there is none.
        """
        finite = {ratios: value for ratios, value in self.evaluated.items() if math.isfinite(value)}
        if not finite:
            raise InputError("no ratio has a finite value; evaluate some more, or make training diverge less")
        return max(finite, key=lambda ratios: finite[ratios])

    def _posterior(self, shares: np.ndarray, values: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kernel = ConstantKernel(1.0, (0.1, 10.0)) * Matern(0.5, (0.05, 5.0), nu=2.5)
        process = GaussianProcessRegressor(kernel, alpha=self.noise, normalize_y=True)
        with warnings.catch_warnings():
            # Few values often say no more than that a length is beyond its bounds.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(shares, values)
        mean, deviation = process.predict(others, return_std=True)
        return mean, deviation


class InTurns(Balancer):
    """Trains on one task a step, as both stages do; the weights are 1 for that task and 0 for the others.

    Args:
        tasks: Names of the tasks, in the order of their losses.
        turns: Gives the task of each step when that begins, so that it may look at what the last step did.
    """

    def __init__(self, tasks: Sequence[str], turns: Iterator[str]) -> None:
        super().__init__(len(tasks))
        self.tasks = list(tasks)
        self.turns = turns

    def step(self, closure: Closure, model: MultiTaskModel, optimizer: torch.optim.Optimizer) -> Tensor:
        """Take one optimiser step on the task whose turn it is; arguments and result as for every method."""
        task = self.tasks.index(next(self.turns))
        optimizer.zero_grad()
        losses = self.losses_of(closure)
        losses[task].backward()
        optimizer.step()
        self.weights = torch.zeros_like(losses)
        self.weights[task] = 1
        return losses.detach()


def _shares(ratios: Sequence[Ratios]) -> np.ndarray:
    counts = np.array(ratios, dtype=float)  # (n, T)
    return counts / counts.sum(axis=1, keepdims=True)
