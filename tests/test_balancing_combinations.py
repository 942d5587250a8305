"""Methods that combine the tasks' gradients: what they promise, how it is computed, and values known beforehand."""

import math

import pytest
import torch
from shared import SquaredErrors
from torch import nn
from torch.nn.functional import normalize
from torchjd import aggregation

from mtlutils import balancing
from mtlutils.balancing.gradient_method import GradientMethod, factor, gramian_of
from mtlutils.balancing.nash_mtl import bargain
from mtlutils.balancing.orthogonal import Orthogonal
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel

COMBINING = [
    "aligned_mtl",
    "cagrad",
    "config",
    "graddrop",
    "gradvac",
    "imtl_g",
    "mgda",
    "nash_mtl",
    "pcgrad",
    "random",
    "upgrad",
]
WEIGHTED = [method for method in COMBINING if method != "graddrop"]
NON_CONFLICTING = ["cagrad(c=1.0)", "config", "mgda(max_iters=300, epsilon=1.0e-6)", "nash_mtl", "upgrad"]
SEED = 5


class Network(SquaredErrors):
    """A small network, with batch norm, and the squared errors of T tasks as its losses."""

    def __init__(self, n_tasks=3, seed=0):
        encoder = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
        super().__init__(encoder, n_tasks, seed)


class Stated(nn.Module):
    """An encoder whose output is its parameter."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self):
        return self.value * 1


class Scaled(nn.Module):
    """A head with a parameter: its task's loss is linear in the representation."""

    def __init__(self, gradient):
        super().__init__()
        self.register_buffer("gradient", torch.tensor(gradient))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, representation):
        return self.scale * (self.gradient @ representation + 1)


class Linear(MultiTaskModel):
    """Losses of given gradients (T, P), with respect to parameters that are the representation."""

    def __init__(self, gradients):
        super().__init__(Stated([0.0] * len(gradients[0])), {str(t): Scaled(g) for t, g in enumerate(gradients)})

    def losses(self):
        return torch.stack(list(self().values()))


def sgd(model, lr=0.0):
    return torch.optim.SGD(model.parameters(), lr=lr)


def stepped(method, model, lr=0.0, seed=SEED):
    """Take a step; return the balancer."""
    balancer = balancing.create(method, len(model.heads)) if isinstance(method, str) else method
    torch.manual_seed(seed)
    balancer.step(model.losses, model, sgd(model, lr))
    return balancer


def combined(method, gradients, seed=SEED):
    """What a method makes of given gradients, and its weights."""
    model = Linear(gradients)
    balancer = stepped(method, model, seed=seed)
    return model.encoder.value.grad, balancer.weights


def jacobian(model):
    """The shared parameters' gradients (T, P), by the plainest way."""
    rows = []
    for task in range(len(model.heads)):
        gradients = torch.autograd.grad(model.losses()[task], list(model.shared_parameters()))
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows)


def flat_gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.shared_parameters()])


# What holds for all of them


def test_every_method_that_combines_gradients_is_tested():
    listed = {method.name for method in balancing.methods() if method.family == "gradients"}
    elsewhere = {"gradient_cosine", "orthogonal", "pareto_mtl"}
    assert listed - elsewhere == set(COMBINING)


@pytest.mark.parametrize("n_tasks", [1, 2, 4])
@pytest.mark.parametrize("method", WEIGHTED)
def test_update_is_the_weighted_sum_of_exact_gradients(method, n_tasks):
    model = Network(n_tasks)
    expected = jacobian(model)
    balancer = stepped(method, model)
    torch.testing.assert_close(flat_gradient(model), balancer.weights @ expected, rtol=1e-4, atol=1e-5)
    assert balancer.weights.isfinite().all()


@pytest.mark.parametrize("gradients", ["shared", "representation"])
@pytest.mark.parametrize("method", COMBINING)
def test_heads_descend_on_their_own_losses(method, gradients):
    model = Network()
    own = list(model.task_parameters())
    expected = torch.autograd.grad(model.losses().sum(), own)
    stepped(f"{method}(gradients={gradients})", model)
    for parameter, gradient in zip(own, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("gradients", ["shared", "representation"])
@pytest.mark.parametrize("method", WEIGHTED)
def test_heads_may_be_weighted(method, gradients):
    model = Network()
    own = list(model.task_parameters())
    each = [torch.autograd.grad(loss, own, materialize_grads=True) for loss in [model.losses()[t] for t in range(3)]]
    balancer = stepped(f"{method}(heads=weighted, gradients={gradients})", model)
    for parameter, *of_tasks in zip(own, *each, strict=True):
        torch.testing.assert_close(parameter.grad, torch.einsum("t,t...->...", balancer.weights, torch.stack(of_tasks)))


@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize("method", [method for method in WEIGHTED if method != "nash_mtl"])
def test_weights_do_not_depend_on_the_length_of_the_gradients(method, scale):
    gradients = torch.tensor([[1.0, 0.5, 0.0], [-0.7, 1.0, 0.3], [0.2, -2.0, 1.0]])
    _, expected = combined(method, gradients.tolist())
    _, weights = combined(method, (scale * gradients).tolist())
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", NON_CONFLICTING)
def test_no_loss_rises_where_that_is_promised(method):
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        gradients = torch.randn(3, 4, generator=random)
        direction, _ = combined(method, gradients.tolist())
        slack = 1e-3 * gradients.norm(dim=1).max() * direction.norm()
        assert (gradients @ direction).min() >= -slack
        # ... and it is no direction of length 0, nor was the sum without a conflict each time
        assert direction.norm() > 1e-3


def test_sum_of_gradients_does_raise_losses():
    # Or else the test above would prove nothing.
    random = torch.Generator().manual_seed(0)
    each = [torch.randn(3, 4, generator=random) for _ in range(5)]
    assert min((gradients @ gradients.sum(dim=0)).min() for gradients in each) < -0.1


@pytest.mark.parametrize("method", ["graddrop", "gradvac", "pcgrad", "random"])
def test_random_methods_repeat_with_a_seed(method):
    gradients = [[1.0, 0.5, 0.0], [-2.0, 1.0, 0.3], [0.2, -2.0, -1.0]]
    one, again, *others = (combined(method, gradients, seed=seed)[0] for seed in (0, 0, 1, 2, 3, 4, 5, 6))
    assert torch.equal(one, again)
    assert not all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("method", COMBINING)
def test_running_statistics_move_once(method):
    for gradients in ("shared", "representation"):
        model = Network()
        stepped(f"{method}(gradients={gradients})", model)
        assert model.encoder[1].num_batches_tracked == 1


@pytest.mark.parametrize("gradients", ["shared", "representation"])
@pytest.mark.parametrize("method", COMBINING)
def test_parameters_that_do_not_learn_are_left_alone(method, gradients):
    model = Network()
    frozen = {model.encoder[0].weight, model.heads["1"].bias}
    for parameter in frozen:
        parameter.requires_grad_(False)
    before = {parameter: parameter.clone() for parameter in model.parameters()}
    stepped(f"{method}(gradients={gradients})", model, lr=0.1)
    # (the bias before batch norm has no effect, so that only rounding moves it)
    for parameter in set(model.parameters()) - {model.encoder[0].bias}:
        assert torch.equal(parameter, before[parameter]) == (parameter in frozen)


@pytest.mark.parametrize("method", COMBINING)
def test_no_shared_parameters(method):
    model = Network()
    model.shared_parameters = lambda: iter([])
    with pytest.raises(InputError, match="needs shared parameters that learn"):
        stepped(method, model)


@pytest.mark.parametrize("method", WEIGHTED)
def test_gradients_that_are_not_finite(method):
    direction, weights = combined(method, [[1.0, math.nan], [1.0, 2.0]])
    assert weights.isnan().all()
    assert direction.isnan().all()


@pytest.mark.parametrize("method", COMBINING)
def test_gradients_that_are_zero(method):
    direction, _ = combined(method, [[0.0, 0.0], [0.0, 0.0]])
    assert direction.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("mgda(gradients=all)", "gradients must be 'shared' or 'representation', got 'all'"),
        ("pcgrad(heads=none)", "heads must be 'own' or 'weighted', got 'none'"),
        ("graddrop(heads=weighted)", "unexpected keyword argument 'heads'"),
        ("graddrop(leak=2)", "leak must be from 0 to 1, one or 2 of them"),
        ("graddrop(leak=[0, 0, 0])", "leak must be from 0 to 1, one or 2 of them"),
        ("mgda(epsilon=0)", "epsilon must be positive"),
        ("cagrad(c=-1)", "c must be non-negative"),
        ("gradvac(beta=2)", "beta.*must be in"),
        ("nash_mtl(max_norm=-1)", "max_norm must not be negative"),
        ("nash_mtl(update_weights_every=0)", "update_weights_every must be at least 1"),
        ("aligned_mtl(scale_mode=max)", "scale_mode must be 'min', 'median' or 'rmse', got 'max'"),
        ("aligned_mtl(preferences=[1])", "preferences must be positive, 2 of them"),
        ("upgrad(preferences=[1, -1])", "preferences must be positive, 2 of them"),
        ("upgrad(reg_eps=-1)", "reg_eps must be non-negative"),
        ("config(preferences=[1, 1, 1])", "preferences must be positive, 2 of them"),
        ("orthogonal(strength=-1)", "strength must not be negative"),
        ("orthogonal(penalised=heads)", "penalised must be 'shared' or 'all', got 'heads'"),
        ("orthogonal(pairs=max)", "pairs must be 'sum' or 'mean', got 'max'"),
    ],
)
def test_wrong_options(method, message):
    with pytest.raises(InputError, match=message) as error:
        balancing.create(method, 2)
    assert "\n" not in str(error.value)


# Solvers that are not there


@pytest.mark.parametrize(
    ("method", "package"),
    [
        ("cagrad", "cvxpy"),
        ("cagrad", "clarabel"),
        ("upgrad", "quadprog"),
        ("upgrad", "qpsolvers"),
    ],
)
def test_missing_package_of_a_solver(method, package, monkeypatch):
    from torchjd import _mixins

    found = _mixins.find_spec
    monkeypatch.setattr(_mixins, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(InputError, match=f"{method}: .*{package}") as error:
        balancing.create(method, 2)
    assert "\n" not in str(error.value)


def test_solver_that_does_not_load(monkeypatch):
    import cvxpy

    monkeypatch.setattr(cvxpy, "installed_solvers", lambda: ["SCS"])
    message = "cagrad needs the solver CLARABEL of the package clarabel; run pip install clarabel"
    with pytest.raises(InputError, match=message):
        balancing.create("cagrad", 2)


# The inner products


def test_gramian_of_rows_that_are_the_same_has_one_eigenvalue():
    row = torch.randn(1, 5000, generator=torch.Generator().manual_seed(0))
    products = gramian_of(row.expand(3, -1))
    assert products.dtype == torch.float64
    torch.testing.assert_close(products, (row.double() @ row.double().T).expand(3, 3))
    assert factor(products).shape == (3, 1)


def test_gramian_of_many_columns_goes_by_blocks():
    matrix = torch.zeros(2, 2**22 + 3)
    matrix[0, 0], matrix[0, -1], matrix[1, -1] = 2.0, 3.0, 5.0
    assert gramian_of(matrix).tolist() == [[13, 15], [15, 25]]


def test_factor_has_the_gramian():
    matrix = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    narrow = factor(matrix @ matrix.T)
    assert narrow.shape == (3, 3)
    torch.testing.assert_close(narrow @ narrow.T, matrix @ matrix.T)


# Gradients of the representation


@pytest.mark.parametrize("method", COMBINING)
def test_representation_that_is_the_parameters(method):
    gradients = [[1.0, 0.5, 0.0], [-2.0, 1.0, 0.3], [0.2, -2.0, -1.0]]
    exact, weights = combined(method, gradients)
    by_output, same = combined(f"{method}(gradients=representation)", gradients)
    torch.testing.assert_close(by_output, exact)
    if weights is not None:
        torch.testing.assert_close(same, weights)


@pytest.mark.parametrize("method", WEIGHTED)
def test_representation_of_one_linear_layer_and_one_input(method):
    # ∇_W L = ∇_z L xᵀ: with x of length 1, all inner products are the same.
    models, x, y = [], torch.tensor([0.6, 0.8]), torch.tensor([1.0, -2.0, 0.5])
    for gradients in ("shared", "representation"):
        model = MultiTaskModel(nn.Linear(2, 3, bias=False), {str(t): nn.Linear(3, 1) for t in range(3)})
        random = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.data = torch.randn(parameter.shape, generator=random)
        model.losses = lambda m=model: (torch.cat(list(m(x).values())) - y).square()
        stepped(f"{method}(gradients={gradients})", model)
        models.append(model)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", WEIGHTED)
def test_representation_weighs_by_other_products_and_applies_the_same_sum(method):
    model = Network()
    of_parameters = jacobian(model)
    representation = model.encoder(model.inputs).detach().requires_grad_()
    outputs = [model.heads[task](representation) - model.targets[int(task)] for task in model.heads]
    rows = [torch.autograd.grad(output.square().mean(), representation)[0].flatten() for output in outputs]
    torch.manual_seed(SEED)
    _, expected = balancing.create(method, 3).aggregate(torch.stack(rows))

    balancer = stepped(f"{method}(gradients=representation)", model)
    torch.testing.assert_close(balancer.weights, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(flat_gradient(model), balancer.weights @ of_parameters, rtol=1e-4, atol=1e-5)
    if method != "random":
        assert not torch.allclose(balancer.weights, stepped(method, Network()).weights, rtol=1e-2)


class Stages(nn.Module):
    """Returns two stages, the second computed from the first, and something without a gradient."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 3)

    def forward(self, inputs):
        first = self.first(inputs).tanh()
        return {"first": first, "rest": (self.second(first), inputs)}


class Adding(nn.Module):
    def __init__(self, outside):
        super().__init__()
        self.outside = [outside]  # not this head's own
        self.head = nn.Linear(3, 1)

    def forward(self, features):
        second, inputs = features["rest"]
        return self.head(self.outside[0](features["first"]) + second * inputs[:, :1])


def staged():
    torch.manual_seed(0)
    outside = nn.Linear(3, 3)
    model = MultiTaskModel(Stages(), {str(task): Adding(outside) for task in range(2)})
    model.outside = outside
    model.shared_parameters = lambda: [*outside.parameters(), *model.encoder.parameters()]
    inputs = torch.randn(5, 4)
    model.losses = lambda: torch.stack([output.square().mean() for output in model(inputs).values()])
    return model


def test_representation_of_several_tensors_and_shared_parameters_outside_the_encoder():
    model = staged()
    exact = jacobian(model)
    balancer = stepped("mgda(gradients=representation)", model)
    torch.testing.assert_close(flat_gradient(model), balancer.weights @ exact)
    assert not torch.allclose(balancer.weights, torch.full((2,), 0.5))
    for parameter, sum_of_both in zip(
        model.task_parameters(), torch.autograd.grad(model.losses().sum(), list(model.task_parameters())), strict=True
    ):
        torch.testing.assert_close(parameter.grad, sum_of_both)


def test_representation_leaves_no_hook():
    model = Network()
    stepped("mgda(gradients=representation)", model)
    assert not model.encoder._forward_hooks
    with pytest.raises(InputError, match="one loss a task"):
        balancing.create("mgda(gradients=representation)", 2).step(model.losses, model, sgd(model))
    assert not model.encoder._forward_hooks


def test_representation_that_is_not_there():
    model = Network()
    balancer = balancing.create("mgda(gradients=representation)", 3)
    with pytest.raises(InputError, match="representation that needs gradients, computed by the closure"):
        balancer.step(lambda: torch.stack([head.weight.sum() for head in model.heads.values()]), model, sgd(model))
    model.encoder.requires_grad_(False)
    with pytest.raises(InputError, match="representation that needs gradients, computed by the closure"):
        balancer.step(model.losses, model, sgd(model))


# Going on from a checkpoint


@pytest.mark.parametrize("method", COMBINING)
def test_resume(method, tmp_path):
    def run(balancer, model, n):
        weights = []
        for _ in range(n):
            balancer.step(model.losses, model, sgd(model, lr=0.01))
            weights.append(flat_gradient(model))
        return weights

    torch.manual_seed(SEED)
    uninterrupted = run(balancing.create(method, 3), Network(), 4)
    torch.manual_seed(SEED)
    balancer, model = balancing.create(method, 3), Network()
    run(balancer, model, 2)
    torch.save([balancer.state_dict(), model.state_dict(), torch.get_rng_state()], tmp_path / "state.pt")
    balancer, model = balancing.create(method, 3), Network()
    of_balancer, of_model, draws = torch.load(tmp_path / "state.pt", weights_only=True)
    balancer.load_state_dict(of_balancer)
    model.load_state_dict(of_model)
    torch.set_rng_state(draws)
    for gradient, expected in zip(run(balancer, model, 2), uninterrupted[2:], strict=True):
        assert torch.equal(gradient, expected)


def test_creating_a_method_draws_nothing():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    for method in COMBINING:
        balancing.create(method, 3)
    assert torch.equal(torch.get_rng_state(), state)


# Values computed by hand


def assert_direction(method, gradients, expected, **tolerance):
    direction, weights = combined(method, gradients)
    torch.testing.assert_close(direction, torch.tensor(expected), **(tolerance or {"rtol": 1e-4, "atol": 1e-5}))
    return weights


def test_mgda_of_two_vectors():
    # (3, 0) and (0, 1): 1/10 of the way from (0, 1) to (3, 0)
    assert_direction("mgda", [[3.0, 0.0], [0.0, 1.0]], [0.3, 0.9])
    # (1, 0) and (2, 0): the shorter; (1, 0) and (-3, 0): 0 is between them
    assert_direction("mgda", [[1.0, 0.0], [2.0, 0.0]], [1.0, 0.0])
    assert assert_direction("mgda", [[1.0, 0.0], [-3.0, 0.0]], [0.0, 0.0]).tolist() == pytest.approx([0.75, 0.25])


def test_pcgrad_of_two_conflicting_vectors():
    # g_1 = (2, 0), g_2 = (-1, 1), g_1 · g_2 = -2. g_1 + 2/2 g_2 = (1, 1); g_2 + 2/4 g_1 = (0, 1).
    weights = assert_direction("pcgrad", [[2.0, 0.0], [-1.0, 1.0]], [1.0, 2.0])
    torch.testing.assert_close(weights, torch.tensor([1.5, 2.0]))


@pytest.mark.parametrize("method", ["pcgrad", "gradvac", "graddrop"])
def test_without_a_conflict_the_sum_is_left(method):
    assert_direction(method, [[2.0, 0.0], [1.0, 1.0], [0.5, 3.0]], [3.5, 4.0])


def test_gradvac_first_step_is_pcgrads_and_the_second_asks_for_the_usual_cosine():
    conflict, agreement = [[2.0, 0.0], [-1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]
    assert_direction("gradvac", conflict, [1.0, 2.0])
    # After an agreement with the cosine √½ and β = 1, the second step wants 45 degrees. Of (1, 0) and (0, 1) each is
    # turned to (1, 1), of whose direction it then has (1, 1) and (1, 1).
    balancer = balancing.create("gradvac(beta=1.0)", 2)
    stepped(balancer, Linear(agreement))
    model = Linear([[1.0, 0.0], [0.0, 1.0]])
    stepped(balancer, model)
    torch.testing.assert_close(model.encoder.value.grad, torch.tensor([2.0, 2.0]), rtol=1e-4, atol=1e-5)


def test_graddrop_keeps_one_sign_of_each_entry():
    # P = (1 + (3 - 1) / 4) / 2 = 3/4 in each entry: 3 with that probability, else -1.
    gradients = [[3.0] * 4000, [-1.0] * 4000]
    direction, weights = combined("graddrop", gradients)
    assert weights is None
    assert set(direction.tolist()) == {3.0, -1.0}
    assert (direction == 3).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_graddrop_leaks():
    assert_direction("graddrop(leak=1.0)", [[3.0], [-1.0]], [2.0])
    direction, _ = combined("graddrop(leak=[0.5, 1.0])", [[3.0] * 100, [-1.0] * 100])
    assert set(direction.tolist()) == {3 - 1, 1.5 - 1}


def test_imtl_g_has_equal_projections():
    gradients = torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.0, 0.5], [-0.5, 0.2, 1.0]])
    direction, weights = combined("imtl_g", gradients.tolist())
    projections = gradients @ direction / gradients.norm(dim=1)
    torch.testing.assert_close(projections, projections.mean().expand(3), rtol=1e-4, atol=1e-5)
    assert weights.sum().item() == pytest.approx(1)
    # (2, 0) and (0, 1): w ∝ (1/2, 1)
    assert_direction("imtl_g", [[2.0, 0.0], [0.0, 1.0]], [2 / 3, 2 / 3])


def test_cagrad_at_0_is_the_mean():
    assert_direction("cagrad(c=0)", [[2.0, 0.0], [-1.0, 1.0]], [0.5, 0.5])


def test_cagrad_by_hand():
    # Of (1, 1) and (-1, 1) the worst-off gains most from (0, 1), the mean; so d = (1 + c) (0, 1).
    assert_direction("cagrad(c=0.5)", [[1.0, 1.0], [-1.0, 1.0]], [0.0, 1.5], rtol=1e-3, atol=1e-3)
    # (4, 0) and (0, 1), c = 1: the ball's middle (2, ½) has the radius ½√17; the second gains g_2 · d = d_2 at most
    # ½ + ½√17 at (2, ½ + ½√17), where the first gains 8 > 2.56: the least is d_2.
    top = 0.5 + math.sqrt(17) / 2
    assert_direction("cagrad(c=1.0)", [[4.0, 0.0], [0.0, 1.0]], [2.0, top], rtol=1e-3, atol=1e-3)


def test_nash_mtl_solves_its_equation():
    gradients = torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.0, 0.5], [-0.5, 0.2, 1.0]])
    direction, weights = combined("nash_mtl(max_norm=0)", gradients.tolist())
    torch.testing.assert_close(gradients @ gradients.T @ weights, 1 / weights)
    assert direction.norm().item() == pytest.approx(math.sqrt(3))
    cut, _ = combined("nash_mtl", gradients.tolist())
    torch.testing.assert_close(cut, direction / direction.norm())
    # of one task, and of orthogonal ones: w = 1 / ‖g‖
    assert_direction("nash_mtl(max_norm=0)", [[3.0, 4.0]], [0.6, 0.8])
    assert_direction("nash_mtl(max_norm=0.5)", [[3.0, 4.0]], [0.3, 0.4])
    assert_direction("nash_mtl(max_norm=0)", [[4.0, 0.0], [0.0, 0.5]], [1.0, 1.0])


@pytest.mark.filterwarnings("ignore::UserWarning")  # its problem is compiled at every solution
@pytest.mark.parametrize("n_tasks", [2, 3, 5])
def test_nash_mtl_is_what_the_published_sequence_of_convex_problems_ends_at(n_tasks):
    pytest.importorskip("ecos", reason="TorchJD's Nash-MTL needs the solver ECOS, which has no wheels for Python 3.13")
    random = torch.Generator().manual_seed(n_tasks)
    for _ in range(3):
        # of one length: of others, the sequence often stops before it solves the equation
        gradients = normalize(torch.randn(n_tasks, 8, generator=random, dtype=torch.float64))
        published = aggregation.NashMTL(n_tasks, max_norm=0.0).weighting(gradients)
        weights = torch.from_numpy(bargain((gradients @ gradients.T).numpy()))
        torch.testing.assert_close(weights, published, rtol=1e-5, atol=0)


def test_nash_mtl_of_gradients_of_any_length_and_number():
    random = torch.Generator().manual_seed(0)
    lengths = 10 ** (3 * torch.randn(20, 1, generator=random, dtype=torch.float64))
    gradients = lengths * torch.randn(20, 15, generator=random, dtype=torch.float64)  # more tasks than numbers
    products = (gradients @ gradients.T).numpy()
    weights = bargain(products)
    torch.testing.assert_close(torch.from_numpy(products @ weights * weights), torch.ones(20, dtype=torch.float64))


def test_nash_mtl_without_a_bargain():
    # Opposite gradients leave no direction that both gain from; nothing is applied, and all of it is finite.
    direction, weights = combined("nash_mtl(max_norm=0)", [[1.0, 0.0], [-2.0, 0.0]])
    assert direction.norm() < 0.1
    torch.testing.assert_close(weights[0], 2 * weights[1])
    assert_direction("nash_mtl", [[0.0, 0.0], [0.0, 2.0]], [0.0, 1.0])  # a task without a gradient takes no part


def test_nash_mtl_may_solve_now_and_then():
    balancer = balancing.create("nash_mtl(update_weights_every=2, max_norm=0)", 2)
    each = []
    for gradients in ([[4.0, 0.0], [0.0, 0.5]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]):
        each.append(stepped(balancer, Linear(gradients)).weights)
    torch.testing.assert_close(each[0], torch.tensor([0.25, 2.0]), rtol=1e-3, atol=1e-3)
    assert torch.equal(each[1], each[0])
    torch.testing.assert_close(each[2], torch.ones(2), rtol=1e-3, atol=1e-3)


def test_aligned_mtl_singular_values():
    gradients = torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.0, 0.5], [-0.5, 0.2, 1.0]])
    # With the preference of one task alone, as good as that, the update is that task's aligned gradient.
    rows = []
    for task in range(3):
        preferences = [1.0 if other == task else 1e-9 for other in range(3)]
        balancer = balancing.create("aligned_mtl", 3, preferences=preferences)
        rows.append(combined(balancer, gradients.tolist())[0])
    singular = torch.linalg.svdvals(torch.stack(rows))
    torch.testing.assert_close(singular, torch.linalg.svdvals(gradients).min().expand(3), rtol=1e-4, atol=1e-4)
    # orthogonal gradients of lengths 2 and 1: both become of length 1
    assert_direction("aligned_mtl", [[2.0, 0.0], [0.0, 1.0]], [0.5, 0.5])
    assert_direction("aligned_mtl(scale_mode=rmse)", [[2.0, 0.0], [0.0, 1.0]], [math.sqrt(2.5) / 2] * 2)


def test_upgrad_by_hand():
    # g_1 = (2, 0), g_2 = (-1, 1): on the directions with g · d >= 0, g_1 becomes (1, 1) and g_2 (0, 1), as by PCGrad.
    assert_direction("upgrad", [[2.0, 0.0], [-1.0, 1.0]], [0.5, 1.0])
    assert_direction("upgrad(preferences=[1, 3])", [[2.0, 0.0], [-1.0, 1.0]], [1.0, 4.0])
    assert_direction("upgrad", [[2.0, 0.0], [1.0, 1.0]], [1.5, 0.5])


def test_upgrad_weights_are_at_least_the_mean():
    random = torch.Generator().manual_seed(1)
    for _ in range(5):
        _, weights = combined("upgrad", torch.randn(3, 4, generator=random).tolist())
        assert weights.min() >= 1 / 3 - 1e-4


def test_config_has_equal_cosines_and_the_length_of_the_projections():
    gradients = torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.0, 0.5], [-0.5, 0.2, 1.0]])
    direction, _ = combined("config", gradients.tolist())
    cosines = torch.cosine_similarity(gradients, direction.expand(3, -1))
    torch.testing.assert_close(cosines, cosines.mean().expand(3))
    assert direction.norm().item() == pytest.approx((gradients @ direction / direction.norm()).sum().item(), rel=1e-4)
    torch.testing.assert_close(direction, aggregation.ConFIG()(gradients), rtol=1e-4, atol=1e-5)
    # (2, 0) and (0, 1): direction √½ (1, 1), length 3 √½
    assert_direction("config", [[2.0, 0.0], [0.0, 1.0]], [1.5, 1.5])
    direction, _ = combined("config(preferences=[1, 2, 2])", gradients.tolist())
    cosines = torch.cosine_similarity(gradients, direction.expand(3, -1))
    torch.testing.assert_close(cosines / cosines[0], torch.tensor([1.0, 2.0, 2.0]))


def test_config_of_gradients_that_depend_on_one_another():
    gradients = torch.tensor([[1.0, 0.0, 2.0], [1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    direction, weights = combined("config", gradients.tolist())
    torch.testing.assert_close(direction, aggregation.ConFIG()(gradients), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights[0], weights[1])


def test_random_weights_are_a_softmax_of_normal_draws():
    torch.manual_seed(SEED)
    z = torch.randn(2, dtype=torch.float64)
    _, weights = combined("random", [[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(weights, z.softmax(dim=0).float())


# Orthogonal gradients


@pytest.mark.parametrize("pairs", ["sum", "mean"])
@pytest.mark.parametrize("penalised", ["shared", "all"])
def test_orthogonal_penalty_against_finite_differences(penalised, pairs):
    model = Network().double()
    model.inputs, model.targets = model.inputs.double(), model.targets.double()
    model.eval()  # so that the second pass sees the same

    def total():
        rows = torch.nn.functional.normalize(jacobian(model), dim=1)
        cosines = [(rows[s] @ rows[t]).square() for s, t in ((0, 1), (0, 2), (1, 2))]
        penalty = sum(cosines) / (3 if pairs == "mean" else 1)
        return model.losses().sum().item(), penalty.item()

    stepped(Orthogonal(3, strength=0.7, penalised=penalised, pairs=pairs), model)
    n_penalised = 0
    for parameter in (model.encoder[0].weight, model.encoder[3].weight, model.heads["1"].weight):
        is_penalised = penalised == "all" or parameter is not model.heads["1"].weight
        ends = []
        for change in (1e-5, -1e-5):
            parameter.data[0, 0] += change
            ends.append(total())
            parameter.data[0, 0] -= change
        (loss_up, penalty_up), (loss_down, penalty_down) = ends
        slope, of_penalty = (loss_up - loss_down) / 2e-5, (penalty_up - penalty_down) / 2e-5
        n_penalised += is_penalised and abs(of_penalty) > 1e-3
        expected = slope + 0.7 * of_penalty if is_penalised else slope
        assert parameter.grad[0, 0].item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert n_penalised >= 2


def test_orthogonal_of_two_vectors():
    # (1, 0) and (3, 4): the squared cosine is 9/25; a third task alike to the first adds 1 and 9/25.
    for gradients, expected in (
        ([[1.0, 0.0], [3.0, 4.0]], 0.36),
        ([[1.0, 0.0], [3.0, 4.0], [5.0, 0.0]], 1.72),
        ([[1.0, 0.0], [0.0, 0.0]], 0.0),
    ):
        products = gramian_of(torch.tensor(gradients))
        assert Orthogonal(len(gradients)).penalty(products).item() == pytest.approx(expected)


def test_orthogonal_without_strength_is_equal_weighting():
    one, other = Network(), Network()
    balancer = stepped("orthogonal(strength=0.0)", one)
    stepped("equal", other)
    assert balancer.weights is None
    for parameter, expected in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


def test_orthogonal_turns_the_gradients_apart():
    cosines = []
    for strength in (0.0, 10.0):
        model, balancer = Network(2), Orthogonal(2, strength=strength)
        optimizer = sgd(model, lr=0.01)
        for _ in range(30):
            balancer.step(model.losses, model, optimizer)
        cosines.append(torch.cosine_similarity(*jacobian(model), dim=0).square().item())
    assert cosines[1] < 0.5 * cosines[0]


def test_orthogonal_without_shared_parameters():
    model = Network()
    model.shared_parameters = lambda: iter([])
    with pytest.raises(InputError, match="needs shared parameters that learn"):
        stepped("orthogonal", model)


def test_own_method_by_its_weights():
    class Shortest(GradientMethod):
        def weigh_gramian(self, gramian):
            return torch.nn.functional.one_hot(gramian.diagonal().argmin(), self.n_tasks).double()

    model = Linear([[2.0, 0.0], [0.0, 1.0]])
    assert stepped(Shortest(2), model).weights.tolist() == [0, 1]
    assert model.encoder.value.grad.tolist() == [0, 1]
