"""Methods that look at each task's gradient: GradNorm and Pareto MTL, and what they share."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from shared import SquaredErrors
from torch import nn
from torchjd.aggregation import MGDAWeighting

from mtlutils import balancing
from mtlutils.balancing.gradients import each_gradient, task_gradients
from mtlutils.balancing.gradnorm import GradNorm
from mtlutils.balancing.pareto_mtl import ParetoMTL, min_norm
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel


class Network(SquaredErrors):
    """A small network, and the squared errors of T tasks as its losses."""

    def __init__(self, n_tasks=3, seed=0):
        super().__init__(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh()), n_tasks, seed)


class Scales(MultiTaskModel):
    """Two tasks, one output each, 1.4 times the scale in its head; ∇_W L = 2 · error · scale · (0.6, 0.8).

    The errors are given.
    """

    def __init__(self, scales=(1.0, 2.0)):
        encoder = nn.Linear(2, 1, bias=False)
        encoder.weight.data = torch.tensor([[1.0, 1.0]])
        super().__init__(encoder, {str(task): nn.Linear(1, 1, bias=False) for task in range(len(scales))})
        self.scales = torch.tensor(scales)
        for head, scale in zip(self.heads.values(), scales, strict=True):
            head.weight.data = torch.tensor([[scale]])

    def losses(self, *errors):
        outputs = torch.cat(list(self(torch.tensor([0.6, 0.8])).values()))
        return (outputs - 1.4 * self.scales + torch.tensor(errors)).square()


class Point(nn.Module):
    """Squared distances of a point from T others, all of them shared."""

    def __init__(self, start, targets):
        super().__init__()
        self.point = nn.Parameter(torch.tensor(start))
        self.targets = torch.tensor(targets)

    def losses(self):
        return (self.point - self.targets).square().sum(dim=1)

    def shared_parameters(self):
        return iter([self.point])

    def task_parameters(self):
        return iter([])


def sgd(model, lr):
    return torch.optim.SGD(model.parameters(), lr=lr)


def steps(balancer, model, n, lr=0.01):
    """Take n steps; return the weights (n, T) that they applied."""
    optimizer = sgd(model, lr)
    weights = []
    for _ in range(n):
        balancer.step(model.losses, model, optimizer)
        weights.append(balancer.weights)
    return torch.stack(weights)


def jacobian(model):
    """The shared parameters' gradients (T, P), by the plainest way."""
    rows = []
    for task in range(len(model.losses())):
        gradients = torch.autograd.grad(model.losses()[task], list(model.shared_parameters()))
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)


# What both share


@pytest.mark.parametrize("stacked", [True, False])
def test_task_gradients(stacked):
    model = Network()
    shared, own = list(model.shared_parameters()), list(model.task_parameters())
    matrix, of_own = task_gradients(model.losses() if stacked else model.losses() * 1, shared, own)
    torch.testing.assert_close(matrix, jacobian(model))
    for task, gradients in enumerate(of_own):
        expected = torch.autograd.grad(model.losses()[task], own, materialize_grads=True)
        for number, (gradient, other) in enumerate(zip(gradients, expected, strict=True)):
            torch.testing.assert_close(torch.zeros_like(other) if gradient is None else gradient, other)
            if stacked:  # no other task's head was visited
                assert (gradient is None) == (number // 2 != task)


def test_task_gradients_where_a_task_uses_nothing_that_is_shared():
    shared, own = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor(3.0))
    matrix, of_own = task_gradients(torch.stack([shared.square().sum(), own.square()]), [shared], [own])
    assert matrix.tolist() == [[2, 4], [0, 0]]
    assert of_own[0] == (None,)
    assert of_own[1][0].item() == 6


def test_task_gradients_where_a_loss_is_constant():
    shared = nn.Parameter(torch.tensor([1.0]))
    matrix, _ = task_gradients(torch.stack([shared.square().sum(), torch.tensor(2.0)]), [shared], [])
    assert matrix.tolist() == [[2], [0]]


def test_graph_is_kept_only_on_request():
    model = Network()
    losses = model.losses()
    list(each_gradient(losses, list(model.parameters()), retain_graph=True))
    list(each_gradient(losses, list(model.parameters())))
    with pytest.raises(RuntimeError, match="second time"):
        list(each_gradient(losses, list(model.parameters())))


@pytest.mark.parametrize("n_tasks", [1, 2, 4])
@pytest.mark.parametrize("method", [GradNorm, ParetoMTL])
def test_update_is_the_weighted_sum_of_the_tasks_gradients_heads_included(method, n_tasks):
    model, balancer = Network(n_tasks), method(n_tasks)
    steps(balancer, model, 3)
    expected = [
        torch.autograd.grad(model.losses()[task], list(model.parameters()), materialize_grads=True)
        for task in range(n_tasks)
    ]
    balancer.step(model.losses, model, sgd(model, lr=0.0))
    for parameter, *gradients in zip(model.parameters(), *expected, strict=True):
        torch.testing.assert_close(
            parameter.grad, torch.einsum("t,t...->...", balancer.weights, torch.stack(gradients))
        )


@pytest.mark.parametrize("method", [GradNorm, ParetoMTL])
def test_one_task_is_plain_descent(method):
    model, plain = Network(1), Network(1)
    assert torch.allclose(steps(method(1), model, 5), torch.ones(5, 1))
    steps(balancing.create("equal", 1), plain, 5)
    for parameter, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected)


@pytest.mark.parametrize("method", [GradNorm, ParetoMTL])
def test_parameters_that_do_not_learn_are_left_alone(method):
    model = Network()
    for frozen in (model.encoder[0].weight, model.encoder[2].weight, model.heads["1"].bias):
        frozen.requires_grad_(False)
    before = [parameter.clone() for parameter in model.parameters()]
    steps(method(3), model, 2)
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old) != parameter.requires_grad


@pytest.mark.parametrize("interrupted", [0, 1, 3, 6])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        (GradNorm, {}),
        (GradNorm, {"weight_optimizer": "sgd"}),
        (ParetoMTL, {"preference": 2, "initial_steps": 4}),
        (ParetoMTL, {"preference": 0}),
    ],
)
def test_resume(method, options, interrupted, tmp_path):
    uninterrupted = steps(method(3, **options), Network(), 8)
    assert not torch.allclose(uninterrupted[0], uninterrupted[-1])

    balancer, model = method(3, **options), Network()
    if interrupted:
        steps(balancer, model, interrupted)
    torch.save([balancer.state_dict(), model.state_dict()], tmp_path / "state.pt")
    balancer, model = method(3, **options), Network(seed=1)
    of_balancer, of_model = torch.load(tmp_path / "state.pt", weights_only=True)
    balancer.load_state_dict(of_balancer)
    model.load_state_dict(of_model)
    model.inputs, model.targets = Network().inputs, Network().targets
    assert torch.equal(steps(balancer, model, 8 - interrupted), uninterrupted[interrupted:])


# GradNorm


def test_gradnorm_first_updates():
    # Step 1: errors (0.5, 1), losses (0.25, 1), norms 2 * 0.5 * 1 = 1 and 2 * 1 * 2 = 4; all weights 1, so G = (1, 4).
    # Every r is 1 at first: the target is (1 + 4) / 2 = 2.5 for both, and the derivative is (-1, 4).
    # w = (1 + 0.1, 1 - 0.4) = (1.1, 0.6), which sums to 1.7: times 2 / 1.7.
    model, balancer = Scales(), GradNorm(2, alpha=1.0, weight_learning_rate=0.1, weight_optimizer="sgd")
    balancer.step(lambda: model.losses(0.5, 1.0), model, sgd(model, lr=0.0))
    assert balancer.weights.tolist() == [1, 1]
    first = torch.tensor([2.2 / 1.7, 1.2 / 1.7])
    torch.testing.assert_close(balancer.task_weights, first)
    # Step 2: errors (0.5, 0.5), losses (0.25, 0.25), ratios (1, 0.25) of mean 0.625, so r = (1.6, 0.4).
    # Norms (1, 2), G = (2.2, 2.4) / 1.7 of mean 2.3 / 1.7; targets (3.68, 0.92) / 1.7, and the derivative is (-1, 2).
    # w = (2.2 / 1.7 + 0.1, 1.2 / 1.7 - 0.2) = (2.37, 0.86) / 1.7, which sums to 3.23 / 1.7.
    balancer.step(lambda: model.losses(0.5, 0.5), model, sgd(model, lr=0.0))
    torch.testing.assert_close(balancer.weights, first)
    torch.testing.assert_close(balancer.task_weights, torch.tensor([4.74 / 3.23, 1.72 / 3.23]))


def test_gradnorm_by_adam_steps_by_the_sign_at_first():
    # Adam's first step is the learning rate, however long the gradient; (1.05, 0.95) sums to 2 already.
    model, balancer = Scales(), GradNorm(2, weight_learning_rate=0.05)
    balancer.step(lambda: model.losses(0.5, 1.0), model, sgd(model, lr=0.0))
    torch.testing.assert_close(balancer.task_weights, torch.tensor([1.05, 0.95]))


def test_gradnorm_adam_is_pytorchs():
    # With each task's gradient of one sign throughout and equal sums, scaling to T changes nothing.
    model, balancer = Scales((1.0, 1.0)), GradNorm(2, alpha=0.0)
    weights = nn.Parameter(torch.ones(2))
    adam = torch.optim.Adam([weights], lr=0.025)
    for size in (1.0, 3.0, 0.2, 0.7):
        balancer.step(lambda size=size: model.losses(size, 3 * size), model, sgd(model, lr=0.0))
        weights.grad = torch.tensor([-2 * size, 6 * size])
        adam.step()
        weights.data *= 2 / weights.data.sum()
    torch.testing.assert_close(balancer.task_weights, weights.detach())


@pytest.mark.parametrize("start", [[1.0, 1.0, 1.0], [0.2, 3.1, -0.3]])
def test_gradnorm_closed_form_is_the_derivative(start):
    model, balancer = Network(), GradNorm(3, alpha=0.7, weight_learning_rate=1e-3, weight_optimizer="sgd")
    steps(balancer, model, 1)
    balancer.task_weights = torch.tensor(start)

    weights = torch.tensor(start, requires_grad=True)
    losses = model.losses()
    layer = model.encoder[2].weight
    lengths = [
        torch.autograd.grad(w * loss, layer, create_graph=True)[0].norm()
        for w, loss in zip(weights, losses, strict=True)
    ]
    lengths = torch.stack(lengths)
    ratios = losses.detach() / balancer.initial_losses
    target = (lengths.mean() * (ratios / ratios.mean()) ** 0.7).detach()
    (lengths - target).abs().sum().backward()
    expected = torch.tensor(start) - 1e-3 * weights.grad

    steps(balancer, model, 1, lr=0.0)
    torch.testing.assert_close(balancer.task_weights, expected * 3 / expected.sum())


@pytest.mark.parametrize("options", [{}, {"weight_optimizer": "sgd"}, {"alpha": 0.0}, {"layer": "encoder.0.weight"}])
def test_gradnorm_weights_sum_to_the_number_of_tasks(options):
    weights = steps(GradNorm(3, **options), Network(), 30)
    torch.testing.assert_close(weights.sum(dim=1), torch.full((30,), 3.0))
    assert not torch.allclose(weights[-1], torch.ones(3))


def test_gradnorm_with_alpha_0_makes_the_lengths_equal():
    model, balancer = Network(), GradNorm(3, alpha=0.0, weight_learning_rate=0.01)
    norms = torch.stack(
        [torch.autograd.grad(loss, model.encoder[2].weight, retain_graph=True)[0].norm() for loss in model.losses()]
    )
    spread = [(w * norms).std() / (w * norms).mean() for w in steps(balancer, model, 300, lr=0.0)]
    assert spread[0] > 0.3
    assert spread[20] < spread[0]
    assert spread[-1] < 0.03


def test_gradnorm_gives_the_slower_task_more_the_higher_alpha_is():
    # Equal gradients; the first task's loss has halved, the second's has not moved: r = (2/3, 4/3).
    final = []
    for alpha in (0.0, 0.5, 2.0):
        model = Scales((1.0, 1.0))
        balancer = GradNorm(2, alpha=alpha, weight_learning_rate=0.005, initial_losses=[0.5, 0.25])
        for _ in range(200):
            balancer.step(lambda model=model: model.losses(0.5, 0.5), model, sgd(model, lr=0.0))
        final.append((balancer.task_weights[1] / balancer.task_weights[0]).item())
    # In balance w_2 / w_1 = 2^alpha where the targets add up to T times their mean, and thereabouts where they do not.
    assert final[0] == pytest.approx(1, abs=0.02)
    assert final[0] < final[1] < final[2]
    assert final[1] == pytest.approx(math.sqrt(2), abs=0.1)


def test_gradnorm_leaves_alike_tasks_at_1():
    model, balancer = Scales((1.0, 1.0, 1.0)), GradNorm(3)
    for error in (1.0, 0.7, 0.3, 0.1):
        balancer.step(lambda error=error: model.losses(error, error, error), model, sgd(model, lr=0.0))
        torch.testing.assert_close(balancer.task_weights, torch.ones(3))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_gradnorm_permuted_tasks_permute_the_weights(optimizer):
    order = [2, 0, 1]
    weights = []
    for permutation in ([0, 1, 2], order):
        model, balancer = Network(), GradNorm(3, weight_optimizer=optimizer)
        model.losses = lambda model=model, p=permutation: Network.losses(model)[p]
        weights.append(steps(balancer, model, 10))
    torch.testing.assert_close(weights[1], weights[0][:, order])


def test_gradnorm_takes_the_last_shared_layer_and_not_its_bias():
    by_default, by_name, other = (
        steps(GradNorm(3, weight_optimizer="sgd", layer=layer), Network(), 10)
        for layer in (None, "encoder.2.weight", "encoder.0.weight")
    )
    assert torch.equal(by_default, by_name)
    assert not torch.allclose(by_default, other)


def test_gradnorm_takes_what_there_is_where_no_shared_parameter_has_two_dimensions():
    model = Point([0.1, 0.2], [[1.0, 0.0], [0.0, 3.0]])
    assert steps(GradNorm(2), model, 3).shape == (3, 2)


def test_gradnorm_refuses_a_layer_that_a_loss_does_not_reach():
    model = Network(2)
    model.losses = lambda: torch.stack([Network.losses(model)[0], model.heads["1"].weight.square().sum()])
    before = copy.deepcopy(model.state_dict())
    message = r"that of task 1, counted from 0, does not reach encoder\.2\.weight; .* name it: gradnorm\(layer=\.\.\.\)"
    with pytest.raises(InputError, match=message) as error:
        steps(GradNorm(2), model, 1)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(InputError, match=r"task 0, .* does not reach heads\.1\.weight"):
        steps(GradNorm(2, layer="heads.1.weight"), Network(2), 1)


def test_gradnorm_takes_a_gradient_of_zero_for_a_length():
    model = Network(2)
    model.losses = lambda: Network.losses(model) * torch.tensor([1.0, 0.0])
    assert steps(GradNorm(2, weight_optimizer="sgd"), model, 3).isfinite().all()


@pytest.mark.parametrize("initial", [2.0, [2.0, 2.0, 2.0]])
def test_gradnorm_initial_losses(initial):
    balancer = GradNorm(3, initial_losses=initial)
    steps(balancer, Network(), 2)
    assert balancer.initial_losses.tolist() == [2, 2, 2]


def test_gradnorm_waits_for_a_task_whose_first_losses_are_zero():
    model, balancer = Network(), GradNorm(3)
    losses = model.losses
    model.losses = lambda: losses() * torch.tensor([1.0, 0.0, 1.0])
    weights = steps(balancer, model, 2)
    assert weights.isfinite().all()
    assert balancer.initial_losses.isnan().tolist() == [False, True, False]
    model.losses = losses
    first = losses()[1].item()
    assert steps(balancer, model, 2).isfinite().all()
    assert balancer.initial_losses[1] == pytest.approx(first)


def test_gradnorm_remembers_the_losses_of_the_first_step():
    model, balancer = Network(), GradNorm(3)
    assert balancer.initial_losses.isnan().all()
    first = model.losses().detach()
    steps(balancer, model, 5)
    assert torch.equal(balancer.initial_losses, first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("alpha=-1", "alpha must not be negative, got -1"),
        ("alpha=.nan", "alpha must be a finite number, got nan"),
        ("weight_learning_rate=0", "weight_learning_rate must be positive, got 0"),
        ("weight_optimizer=lbfgs", "weight_optimizer must be 'adam' or 'sgd', got 'lbfgs'"),
        ("initial_losses=[1.0]", r"initial_losses must be positive, one or 2 of them, got \[1.0\]"),
        ("initial_losses=0", "initial_losses must be positive"),
        ("initial_losses=[1.0, .nan]", "initial_losses must be a finite number, or a list of"),
    ],
)
def test_gradnorm_wrong_options(options, message):
    with pytest.raises(InputError, match=message) as error:
        balancing.create(f"gradnorm({options})", 2)
    assert "\n" not in str(error.value)


def test_gradnorm_unknown_layer():
    with pytest.raises(
        InputError, match=r"no parameter 'encoder\.9\.weight'; layer is one of encoder\.0\.weight, encoder\.0"
    ):
        steps(GradNorm(3, layer="encoder.9.weight"), Network(), 1)


def test_gradnorm_without_shared_parameters():
    model = Network()
    model.shared_parameters = lambda: iter([])
    with pytest.raises(InputError, match="needs shared parameters"):
        steps(GradNorm(3), model, 1)


# Pareto MTL: the shortest vector of a convex hull


def slsqp(gramian):
    n = len(gramian)
    starts = [np.ones(n) / n, *np.random.default_rng(0).dirichlet(np.ones(n), size=2)]
    results = [
        minimize(
            lambda x: x @ gramian @ x,
            start,
            jac=lambda x: 2 * gramian @ x,
            bounds=[(0, 1)] * n,
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones(n)},
            method="SLSQP",
            options={"maxiter": 1000, "ftol": 1e-15},
        )
        for start in starts
    ]
    return min(results, key=lambda result: result.fun)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(("n", "rank"), [(1, 1), (2, 2), (2, 1), (3, 3), (6, 2), (10, 3), (20, 20), (25, 20)])
def test_min_norm_against_scipy(n, rank, scale):
    random = np.random.default_rng(n)
    for _ in range(5):
        vectors = random.normal(size=(n, rank)) @ random.normal(size=(rank, 30)) + 0.5 * random.normal(size=rank).max()
        gramian = vectors @ vectors.T
        shares, expected = min_norm(gramian * scale), slsqp(gramian)
        assert shares.min() >= 0
        assert shares.sum() == pytest.approx(1)
        assert shares @ gramian @ shares <= expected.fun + 1e-7 * np.diag(gramian).max()


def test_min_norm_of_two_vectors():
    # (3, 0) and (0, 1): the nearest point of their segment to 0 is at 1 / 10 of the way from (0, 1) to (3, 0).
    np.testing.assert_allclose(min_norm(np.diag([9.0, 1.0])), [0.1, 0.9])
    # (1, 0) and (2, 0): the shorter one.
    np.testing.assert_allclose(min_norm(np.array([[1.0, 2.0], [2.0, 4.0]])), [1, 0], atol=1e-9)
    # (1, 0) and (-3, 0): 0 is between them.
    np.testing.assert_allclose(min_norm(np.array([[1.0, -3.0], [-3.0, 9.0]])), [0.75, 0.25])


def test_min_norm_shares_alike_between_equal_vectors():
    np.testing.assert_allclose(min_norm(np.ones((3, 3))), np.ones(3) / 3, atol=1e-5)
    np.testing.assert_allclose(min_norm(np.zeros((2, 2))), [0.5, 0.5])


# Pareto MTL: preferences


def test_preferences_of_two_tasks_are_at_equal_angles():
    angles = np.radians([0, 22.5, 45, 67.5, 90])
    np.testing.assert_allclose(ParetoMTL(2).preferences, np.stack([np.cos(angles), np.sin(angles)], axis=1), atol=1e-12)
    np.testing.assert_allclose(ParetoMTL(2, preferences=2).preferences, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(ParetoMTL(2, preferences=1).preferences, np.full((1, 2), math.sqrt(0.5)))


def test_preferences_of_three_tasks():
    vectors = ParetoMTL(3, preferences=3).preferences
    assert vectors.shape == (10, 3)
    h, r = math.sqrt(0.5), math.sqrt(1 / 3)
    # for the first task: its axis, half the right angle to (0, 1, 1) / √2, and that
    np.testing.assert_allclose(vectors[:3], [[1, 0, 0], [h, 0.5, 0.5], [0, h, h]], atol=1e-12)
    np.testing.assert_allclose(vectors[3:6], [[0, 1, 0], [0.5, h, 0.5], [h, 0, h]], atol=1e-12)
    np.testing.assert_allclose(vectors[9], [r, r, r])


@pytest.mark.parametrize("n_tasks", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("preferences", [1, 2, 4, 5])
def test_preferences_are_distinct_unit_vectors(preferences, n_tasks):
    vectors = ParetoMTL(n_tasks, preferences=preferences).preferences
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    assert (vectors >= 0).all()
    similarity = vectors @ vectors.T - np.eye(len(vectors))
    assert similarity.max() < 1 - 1e-6


def test_preferences_given():
    vectors = ParetoMTL(2, preferences=[[2, 0], [3, 4], [0.6, 0.8], [0, 1]]).preferences
    np.testing.assert_allclose(vectors, [[1, 0], [0.6, 0.8], [0, 1]])


@pytest.mark.parametrize(
    ("n_tasks", "preferences", "preference", "expected"),
    [
        (2, 5, None, [1, 1]),
        (2, 5, 0, [0, 1]),
        (2, 5, 1, [1, 0]),
        (2, 5, [0.92, 0.38], [math.cos(math.pi / 8), math.sin(math.pi / 8)]),
        (2, 4, None, [math.sqrt(3), 1]),  # two are as near; the first
        (2, [[1, 0], [1, 3]], None, [1, 3]),
        (2, [[1, 0], [1, 3]], 0, [1, 3]),
        (3, 5, None, [1, 1, 1]),
        (3, 5, 1, [1, 0, 1]),
        (3, 5, [0, 0, 2], [0, 0, 1]),
        (3, [[1, 0, 0], [0, 1, 0], [3, 0, 1]], 1, [3, 0, 1]),
        (20, 2, 7, [*[1] * 7, 0, *[1] * 12]),
        (1, 5, None, [1]),
        (1, 5, 0, [1]),
    ],
)
def test_preference(n_tasks, preferences, preference, expected):
    followed = ParetoMTL(n_tasks, preferences=preferences, preference=preference).preference
    np.testing.assert_allclose(followed, np.array(expected) / np.linalg.norm(expected), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("preferences=0", "preferences must be a positive number, or vectors of 2 numbers.*got 0"),
        ("preferences=[]", "preferences must be"),
        ("preferences=[1, 1]", "preferences must be"),
        ("preferences=[[1, 0], [1]]", "preferences must be"),
        ("preferences=[[1, 0, 0]]", "vectors of 2 numbers"),
        ("preferences=[[1, -1]]", "not negative or all 0"),
        ("preferences=[[1, 0], [0, 0]]", "not negative or all 0"),
        ("preferences=[[1, .inf]]", "preferences must be"),
        ("preferences=many", "preferences must be.*got 'many'"),
        ("preference=2", "preference must be a task, 0 to 1, or a vector of 2 numbers, got 2"),
        ("preference=-1", "preference must be a task, 0 to 1"),
        ("preference=0.5", "preference must be a whole number, or a list"),
        ("preference=[1, 1, 1]", "preference must be a task, 0 to 1"),
        ("preference=[2, 1]", r"preference \[2, 1\] is not among the preferences \[\[1.0, 0.0\], \[0.924, 0.383\]"),
        ("initial_steps=-1", "initial_steps must not be negative, got -1"),
    ],
)
def test_pareto_wrong_options(options, message):
    with pytest.raises(InputError, match=message) as error:
        balancing.create(f"pareto_mtl({options})", 2)
    assert "\n" not in str(error.value)


def test_pareto_without_shared_parameters():
    model = Network()
    model.shared_parameters = lambda: iter([])
    with pytest.raises(InputError, match="needs shared parameters that learn"):
        steps(balancing.create("pareto_mtl", 3), model, 1)


# Pareto MTL: weights


def weights_at(balancer, gradients, losses):
    """The weights for given task gradients and losses."""
    gradients = torch.tensor(gradients)
    return balancer._weigh_gradients(gradients @ gradients.T, torch.tensor(losses))


def test_pareto_initial_phase_by_hand():
    # Vectors (1, 0), (h, h), (0, 1) with h = √½; the equal one is followed, the losses are (3, 1).
    # (1 - h, -h) · (3, 1) = 3 - 4h = 0.17 > 0: active. (-h, 1 - h) · (3, 1) = 1 - 4h < 0: not.
    # One constraint alone has β = 1, whatever the gradients.
    h = math.sqrt(0.5)
    balancer = ParetoMTL(2, preferences=3)
    weights = weights_at(balancer, [[1.0, 0.0], [0.0, 5.0]], [3.0, 1.0])
    torch.testing.assert_close(weights, torch.tensor([1 - h, -h]))
    assert balancer.initial_steps_left == 937


def test_pareto_main_phase_by_hand():
    # As above, without an initial phase: the hull of g_1 = (1, 0), g_2 = (0, 1) and g_1 (1 - h) - g_2 h. The latter is
    # shorter than 1 (its square is 2 - 2h = 0.586) and nearer to g_2's opposite: 0 is nearest between it and g_1 or
    # g_2. With g_2, direction (1 - h, -h - 1): t = (1 - (-h)) / (1 - 2 (-h) + 2 - 2h) = (1 + h) / 3, the point
    # (1 - h) t, 1 - (1 + h) t = (1/6, 1 - (1.5 + 2h) / 3) = (1/6, 0.0286). g_1 is farther: its part is 0.
    h = math.sqrt(0.5)
    weights = weights_at(ParetoMTL(2, preferences=3, initial_steps=0), [[1.0, 0.0], [0.0, 1.0]], [3.0, 1.0])
    expected = torch.tensor([1 / 6, 1 - (1.5 + 2 * h) / 3])
    torch.testing.assert_close(weights, 2 * expected / expected.sum())


def test_pareto_several_constraints_against_scipy():
    # Extreme preference for task 0, and losses far on the other side: all four others are nearer.
    random = torch.Generator().manual_seed(0)
    for initial_steps in (1, 0):
        for _ in range(10):
            balancer = ParetoMTL(2, preference=0, initial_steps=initial_steps)
            gradients = torch.randn(2, 6, generator=random).double()
            weights = weights_at(balancer, gradients.tolist(), [5.0, 0.1]).numpy()
            constraints = balancer.preferences[:4] - balancer.preference
            hull = constraints if initial_steps else np.vstack([np.eye(2), constraints])
            vectors = hull @ gradients.numpy()
            expected = slsqp(vectors @ vectors.T).x @ hull
            if not initial_steps:
                expected *= 2 / np.abs(expected).sum()
            np.testing.assert_allclose(weights, expected, atol=1e-3)


def test_pareto_initial_phase_ends_at_the_first_feasible_step_and_stays_ended():
    balancer = ParetoMTL(2, preference=0, initial_steps=10)
    gradients = [[1.0, 0.0], [0.5, 2.0]]
    infeasible, feasible = [3.0, 1.0], [0.1, 9.0]
    initial = weights_at(balancer, gradients, infeasible)
    assert initial.sum() < 0.5  # not scaled
    assert balancer.initial_steps_left == 9
    main = weights_at(balancer, gradients, feasible)
    assert balancer.initial_steps_left == 0
    assert main.abs().sum().item() == pytest.approx(2)
    again = weights_at(balancer, gradients, infeasible)
    assert again.abs().sum().item() == pytest.approx(2)
    assert not torch.allclose(again, initial)


def test_pareto_initial_phase_takes_no_more_than_its_steps():
    balancer = ParetoMTL(2, preference=0, initial_steps=2)
    each = [weights_at(balancer, [[1.0, 0.0], [0.5, 2.0]], [3.0, 1.0]) for _ in range(4)]
    assert torch.equal(each[0], each[1])
    assert not torch.allclose(each[1], each[2])
    assert torch.equal(each[2], each[3])


@pytest.mark.parametrize("n_tasks", [2, 3, 5])
def test_pareto_main_phase_lowers_every_loss_and_every_active_constraint(n_tasks):
    n_active = 0
    for seed in range(8):
        model = Network(n_tasks, seed=seed)
        balancer = ParetoMTL(n_tasks, preference=seed % n_tasks, initial_steps=0)
        gradients = jacobian(model).double()
        losses = model.losses().detach().double()
        balancer.step(model.losses, model, sgd(model, lr=0.0))
        weights = balancer.weights.double()
        assert weights.abs().sum().item() == pytest.approx(n_tasks)
        direction = weights @ gradients
        slack = 1e-4 * gradients.norm(dim=1).max() * direction.norm()
        assert (gradients @ direction).min() >= -slack
        constraints = torch.from_numpy(balancer.preferences - balancer.preference)
        active = constraints[constraints @ losses > 0]
        n_active += len(active)
        if len(active):
            assert (active @ gradients @ direction).min() >= -slack
    assert n_active > 0


@pytest.mark.parametrize("n_tasks", [2, 3])
def test_pareto_with_one_preference_is_mgda(n_tasks):
    model, balancer = Network(n_tasks), ParetoMTL(n_tasks, preferences=1)
    for _ in range(5):
        gradients = jacobian(model).double()
        expected = MGDAWeighting(epsilon=1e-7, max_iters=4000)(gradients @ gradients.T)
        balancer.step(model.losses, model, sgd(model, lr=0.02))
        torch.testing.assert_close(balancer.weights.double(), n_tasks * expected, atol=1e-3, rtol=1e-3)
        assert balancer.initial_steps_left == 0


@pytest.mark.parametrize("n_tasks", [2, 3])
def test_pareto_permuted_tasks_and_preferences_permute_the_weights(n_tasks):
    order = {2: [1, 0], 3: [2, 0, 1]}[n_tasks]
    vectors = np.random.default_rng(0).uniform(0.1, 1, size=(6, n_tasks))
    weights = []
    for permutation in (list(range(n_tasks)), order):
        model = Network(n_tasks)
        model.losses = lambda model=model, p=permutation: Network.losses(model)[p]
        columns = vectors[:, permutation].tolist()
        weights.append(steps(ParetoMTL(n_tasks, preferences=columns, preference=columns[2]), model, 8, lr=0.005))
    torch.testing.assert_close(weights[1], weights[0][:, order], atol=1e-3, rtol=1e-3)


def test_pareto_permuted_tasks_permute_the_weights_with_the_default_preferences():
    order = [2, 0, 1]
    weights = []
    for permutation in ([0, 1, 2], order):
        model = Network()
        model.losses = lambda model=model, p=permutation: Network.losses(model)[p]
        weights.append(steps(ParetoMTL(3, preference=permutation.index(2)), model, 8, lr=0.005))
    torch.testing.assert_close(weights[1], weights[0][:, order], atol=1e-3, rtol=1e-3)


def test_pareto_takes_no_direction_from_losses_that_are_not_finite():
    assert weights_at(ParetoMTL(2), [[1.0, 0.0], [0.0, 1.0]], [math.nan, 1.0]).isnan().all()
    assert weights_at(ParetoMTL(2), [[math.inf, 0.0], [0.0, 1.0]], [1.0, 1.0]).isnan().all()


@pytest.mark.parametrize("start", [[0.3, 1.5], [-1.5, 0.5], [2.0, -1.0]])
def test_pareto_ends_on_the_front_in_the_sector_of_its_preference(start):
    # The front is the segment between the two points: |√L_1 + √L_2| = 2 there, and more elsewhere.
    angles = []
    for index in range(5):
        model = Point(start, [[1.0, 0.0], [-1.0, 0.0]])
        vector = ParetoMTL(2).preferences[index]
        balancer = ParetoMTL(2, preference=vector.tolist())
        steps(balancer, model, 400, lr=0.02)
        losses = model.losses().detach().double().numpy()
        assert np.sqrt(losses).sum() == pytest.approx(2, abs=1e-3)
        constraints = (balancer.preferences - vector) @ losses / np.linalg.norm(losses)
        assert constraints.max() < 0.02
        angles.append(math.degrees(math.atan2(losses[1], losses[0])))
    assert np.diff(angles).min() > 0
    assert angles[0] < 15  # (1, 0), task 1 favoured: its loss is the smaller
    assert angles[-1] > 75


def test_pareto_three_tasks_end_with_the_favoured_loss_the_smallest():
    for favoured in range(3):
        model = Point([0.5, 0.6], [[1.0, 0.0], [-1.0, 0.2], [0.0, 2.0]])
        balancer = ParetoMTL(3, preferences=5, preference=favoured)
        steps(balancer, model, 400, lr=0.01)
        losses = model.losses().detach()
        assert losses.argmin() == favoured
        constraints = (balancer.preferences - balancer.preference) @ losses.double().numpy()
        assert constraints.max() < 0.02 * losses.norm()
