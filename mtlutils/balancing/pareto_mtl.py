"""Pareto multi-task learning (Lin et al. 2019)."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from mtlutils.balancing.balancer import Balancer
from mtlutils.balancing.gradients import add_gradients, split_like, task_gradients
from mtlutils.models import MultiTaskModel

Vectors = Sequence[Sequence[float]]


class ParetoMTL(Balancer):
    r"""Descends on all losses at once, within the part of the loss space where a chosen preference is the nearest.

    Unit vectors :math:`u_1, \dots, u_K` divide the space of the losses :math:`F = (L_1, \dots, L_T)`. Of these
    :math:`u_k` is followed: F is to lie nearer to it, by angle, than to the others, so that the j-th constraint is
    violated, or active, where :math:`(u_j - u_k) \cdot F > 0`. With :math:`G_i` the gradient of :math:`L_i` and A the
    active constraints, the update's direction is the shortest vector in the convex hull of some gradients, and is a
    weighted sum :math:`\sum_i w_i G_i`:

    - *initial phase*, until the first step without an active constraint, and for at most ``initial_steps``: the hull
      of the constraints' gradients, :math:`w = \sum_{j \in A} \beta_j (u_j - u_k)` with :math:`\beta \ge 0`,
      :math:`\sum_j \beta_j = 1`. Weights can be negative, and their sum is anything;
    - *main phase*, from then on: the hull of the tasks' and the constraints' gradients,
      :math:`w = \lambda + \sum_{j \in A} \beta_j (u_j - u_k)` with :math:`\lambda, \beta \ge 0`,
      :math:`\sum_i \lambda_i + \sum_j \beta_j = 1`, then scaled to :math:`\sum_i |w_i| = T`.

    Without active constraints the main phase is the multiple-gradient descent algorithm; with K = 1 it never has any.

    Lin, Zhen, Li, Zhang & Kwong 2019 (*Pareto multi-task learning*), algorithm 1. The published code settles what the
    paper does not, and is followed in the scale of the weights of both phases, the strict inequality (the paper's is
    not), and the heads, which descend on :math:`\sum_i w_i L_i` with the weights as they are, negative ones too. It
    differs in two ways. There the gradients that decide on w are those of all parameters; here, as in every
    gradient method of this package, of the shared ones. And there the batch on which the initial phase ends is spent
    without a step.

    What is left to choose:

    Args:
        n_tasks: Number of tasks T.
        preferences: The vectors, in loss space: a list (each is scaled to length 1), or how many. For two tasks, as in
            the published code, K vectors at equal angles on the quarter circle, from (1, 0) to (0, 1). For more, where
            that code has nothing, K such vectors for each task t, from its own axis, where its loss may be the
            only one left, to :math:`(1, \dots, 1, 0, 1, \dots, 1)`, where it is to be the smallest; and the equal
            vector. 1 is the equal vector alone.
        preference: The vector to follow. None: the equal one :math:`(1, \dots, 1)`, or the nearest to it. A number t:
            the one that favours task t, counted from 0, the most: where its loss is smallest relative to the others
            and, among such, the others are the most equal. A list: that vector, which must be among the preferences.
        initial_steps: The most steps that the initial phase takes. The default is two epochs of the paper's 120 000
            pairs of digits in batches of 256; the published code has two epochs, whatever the data.
    """

    initial_steps_left: Tensor

    preferences: np.ndarray
    """(K, T) The vectors, each of length 1."""

    preference: np.ndarray
    """(T,) The one that is followed."""

    def __init__(
        self,
        n_tasks: int,
        preferences: int | Vectors = 5,
        preference: int | Sequence[float] | None = None,
        initial_steps: int = 2 * 469,  # 120,000 / 256, rounded up
    ) -> None:
        super().__init__(n_tasks)
        if not initial_steps >= 0:
            raise ValueError(f"initial_steps must not be negative, got {initial_steps}")
        self.preferences = _vectors(preferences, n_tasks)
        self.preference = self.preferences[_followed(preference, self.preferences)]
        self.register_buffer("initial_steps_left", torch.tensor(int(initial_steps)))
        # How each other vector differs from it. The vector itself is left out: a row of zeros, were it active by a
        # rounding error, would be the shortest vector.
        others = self.preferences - self.preference
        self._constraints = others[np.abs(others).max(axis=1) > 0]  # (K - 1, T)

    def backward(self, losses: Tensor, model: MultiTaskModel) -> None:
        """Add the update's direction to the model's gradients.

        Raises:
            InputError: the model has no shared parameters that learn.
        """
        shared = [parameter for parameter in model.shared_parameters() if parameter.requires_grad]
        own = [parameter for parameter in model.task_parameters() if parameter.requires_grad]
        matrix, of_heads = task_gradients(losses, shared, own)  # (T, P)
        self.weights = self._weigh_gradients(matrix @ matrix.T, losses.detach())
        add_gradients(shared, split_like(self.weights @ matrix, shared))
        for weight, gradients in zip(self.weights, of_heads, strict=True):
            add_gradients(own, gradients, weight)

    def _weigh_gradients(self, gramian: Tensor, losses: Tensor) -> Tensor:
        n_tasks = self.n_tasks
        # A GPU is waited for here, once a step: which constraints are active decides on the size of what is solved,
        # and solving it takes many short decisions, each of which would be a wait.
        fetched = torch.cat([gramian.flatten(), losses, self.initial_steps_left.view(1)]).double().cpu().numpy()
        if not np.isfinite(fetched).all():
            return torch.full_like(losses, torch.nan)  # as any weighted sum would be; training then says "diverged"
        squared, values, steps_left = np.split(fetched, [n_tasks**2, n_tasks**2 + n_tasks])

        active = self._constraints[self._constraints @ values > 0]  # (A, T)
        initial = steps_left[0] > 0 and len(active) > 0
        self.initial_steps_left = self.initial_steps_left - 1 if initial else torch.zeros_like(self.initial_steps_left)
        hull = active if initial else np.vstack([np.eye(n_tasks), active])  # rows: vectors as sums of task gradients
        weights = min_norm(hull @ squared.reshape(n_tasks, n_tasks) @ hull.T) @ hull
        if not initial:
            weights *= n_tasks / np.abs(weights).sum()
        return torch.from_numpy(weights).to(losses)


def min_norm(gramian: np.ndarray) -> np.ndarray:
    r"""Find the shortest vector in the convex hull of n vectors.

    With x ≥ 0 the squares :math:`\lVert \sum_i x_i v_i \rVert^2 + (\sum_i x_i - 1)^2` are least at a multiple of the
    answer, whatever its length, and non-negative least squares are solved exactly, in a fraction of a millisecond.
    TorchJD's ``MGDAWeighting`` approaches it: within its 100 iterations, to some thousandths of the longest squared
    length where more than two vectors take part, and each further digit takes ten times as many.

    Args:
        gramian: The vectors' inner products (n, n).

    Returns:
        Their shares (n,) in the shortest vector, non-negative and of sum 1. Of two equal vectors, each has the same.
    """
    scale = max(float(np.diag(gramian).max()), np.finfo(float).tiny)
    values, vectors = np.linalg.eigh(gramian / scale)
    # Rounding may leave an eigenvalue below 0. The small number makes the answer unique where the vectors do not.
    factor = (vectors * np.sqrt(values.clip(min=0) + 1e-9)).T
    n = len(gramian)
    solution, _ = nnls(np.vstack([factor, np.ones(n)]), np.append(np.zeros(n), 1.0))
    return solution / solution.sum()


def _vectors(preferences: int | Vectors, n_tasks: int) -> np.ndarray:
    wrong = f"preferences must be a positive number, or vectors of {n_tasks} numbers that are not negative or all 0"
    if isinstance(preferences, int):
        if preferences < 1:
            raise ValueError(f"{wrong}; got {preferences}")
        vectors = _evenly_spread(preferences, n_tasks)
    else:
        try:
            vectors = np.array(preferences, dtype=float)
        except (TypeError, ValueError):
            vectors = np.empty(0)
        fits = vectors.ndim == 2 and vectors.shape[1] == n_tasks and len(vectors) > 0 and np.isfinite(vectors).all()
        if not fits or (vectors < 0).any() or not vectors.any(axis=1).all():
            raise ValueError(f"{wrong}; got {preferences}")
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    # Two vectors in one direction are one. Each would bound the other's part to nothing.
    _, first = np.unique(vectors.round(6), axis=0, return_index=True)
    return vectors[np.sort(first)]


def _evenly_spread(n: int, n_tasks: int) -> np.ndarray:
    if n == 1 or n_tasks == 1:
        return np.ones((1, n_tasks))
    angles = np.linspace(0, np.pi / 2, n)[:, None]  # (K, 1)
    own = np.eye(n_tasks)
    others = (1 - own) / math.sqrt(n_tasks - 1)
    arcs = [np.cos(angles) * own[task] + np.sin(angles) * others[task] for task in range(n_tasks)]
    return arcs[0] if n_tasks == 2 else np.vstack([*arcs, np.ones(n_tasks)])


def _followed(preference: int | Sequence[float] | None, vectors: np.ndarray) -> int:
    n_tasks = vectors.shape[1]
    equality = vectors.sum(axis=1).round(6)  # rounded, so that of two as near the first is taken
    if preference is None:
        return int(np.argmax(equality))
    wrong = f"preference must be a task, 0 to {n_tasks - 1}, or a vector of {n_tasks} numbers, got {preference}"
    if isinstance(preference, int):
        if not 0 <= preference < n_tasks:
            raise ValueError(wrong)
        return int(np.lexsort((-equality, vectors[:, preference].round(6)))[0])
    try:
        wanted = _vectors([preference], n_tasks)[0]
    except ValueError:
        raise ValueError(wrong) from None
    nearest = int(np.argmax(vectors @ wanted))
    if vectors[nearest] @ wanted < 0.999:  # within 2.5 degrees: written with two digits, it is the same
        raise ValueError(f"preference {preference} is not among the preferences {vectors.round(3).tolist()}")
    return nearest
