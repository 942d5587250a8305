"""Sharing architectures: what all of them have in common, whatever they share."""

import copy
from itertools import chain, product

import pytest
import torch
from shared import assert_state_goes_round
from torch import nn

from mtlutils import balancing
from mtlutils.balancing.gradient_method import GradientMethod
from mtlutils.errors import InputError
from mtlutils.models import (
    MTAN,
    AdaShare,
    AuxiliaryModules,
    CrossStitch,
    GatedSharing,
    LayeredSupervision,
    MultiBackbone,
    MultilinearRelationship,
    Sluice,
    SoftSharing,
    TaskRouting,
    in_stages,
    lenet,
    text_classifier,
    wide_resnet,
)
from mtlutils.models.stages import Adapter, Stages, chosen_stages, feature_shapes, separate, stages_of

CLASSES = {"2-class": 2, "5-class": 5, "3-class": 3}


def images(n=4):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def convolutions():
    """Four stages for images of 8×8, of which the second and third keep the size of features, and the last has 6."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()),
        nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh()),
    )


def lenet_in_stages():
    return in_stages(lenet({"a": 1}).encoder, (3, 6))


def heads(classes, n_features=6):
    """Heads of two layers, of which the first is of the same size for all tasks."""
    layers = {task: (nn.Linear(n_features, 6), nn.Tanh(), nn.Linear(6, n)) for task, n in classes.items()}
    return {task: nn.Sequential(*each) for task, each in layers.items()}


def layered(encoder, own, batch):
    """The first task's head comes after the first stage."""
    first = next(iter(own))
    if len(own) == 1:
        return LayeredSupervision(encoder, own, levels={})
    n = feature_shapes(stages_of(encoder()), (batch,))[0].numel()
    return LayeredSupervision(
        encoder, own | {first: nn.Sequential(nn.Flatten(), nn.Linear(n, CLASSES.get(first, 2)))}, levels={first: 0}
    )


def two_backbones(encoder, own, batch):
    for head in own.values():
        head[0] = nn.Linear(2 * head[0].in_features, 6)
    return MultiBackbone([encoder, encoder], own)


BUILD = {
    "soft_sharing": lambda encoder, own, batch: SoftSharing(encoder, own),
    "cross_stitch": lambda encoder, own, batch: CrossStitch(encoder, own),
    "cross_stitch_per_channel": lambda encoder, own, batch: CrossStitch(
        encoder, own, per_channel=True, stages=[0, 1], example=(batch,)
    ),
    "sluice": lambda encoder, own, batch: Sluice(encoder, own, example=(batch,)),
    "gated_sharing": lambda encoder, own, batch: GatedSharing(encoder, own, example=(batch,), stages=[0, 2]),
    "gated_sharing_both": lambda encoder, own, batch: GatedSharing(encoder, own, example=(batch,), gate_input="both"),
    "mtan": lambda encoder, own, batch: MTAN(encoder, own, example=(batch,)),
    "multilinear_relationship": lambda encoder, own, batch: MultilinearRelationship(encoder, own, layers=["0"]),
    "auxiliary_modules": lambda encoder, own, batch: AuxiliaryModules(encoder, own, example=(batch,)),
    "task_routing": lambda encoder, own, batch: TaskRouting(encoder, own, example=(batch,), sigma=0.75),
    "task_routing_late": lambda encoder, own, batch: TaskRouting(encoder, own, example=(batch,), stages=[2]),
    "layered_supervision": layered,
    "multi_backbone": two_backbones,
    "adashare": lambda encoder, own, batch: AdaShare(encoder, own, example=(batch,)),
    "adashare_hard": lambda encoder, own, batch: AdaShare(encoder, own, example=(batch,), hard=True),
}
every_architecture = pytest.mark.parametrize("name", BUILD)


def build(name, classes=CLASSES, seed=0):
    torch.manual_seed(seed)
    return BUILD[name](convolutions, heads(classes), images())


def ids(parameters):
    return {id(parameter) for parameter in parameters}


def own_parameters(model, task):
    """What belongs to one task: its head, and its auxiliary module or policy."""
    parts = (getattr(model, name, {}) for name in ("heads", "auxiliary", "policies"))
    return ids(chain.from_iterable(part[task].parameters() for part in parts if part))


def loss_of(model, task, batch, target):
    """Mean squared distance of a task's outputs, the auxiliary one too, from a number."""
    outputs = model(batch, tasks=[task])
    return sum((output - target).square().mean() for output in outputs.values())


class Batch:
    """The losses of all tasks on one batch."""

    def __init__(self, model, dtype=torch.float):
        self.model = model
        self.batch = images().to(dtype)

    def __call__(self):
        return torch.stack([self.of(i) for i in range(len(self.model.heads))])

    def of(self, task):
        return loss_of(self.model, list(self.model.heads)[task], self.batch, 0.3 * (task + 1))


@every_architecture
@pytest.mark.parametrize("n_tasks", [1, 3])
def test_shared_and_task_parameters_are_all_parameters_each_once(name, n_tasks):
    model = build(name, dict(list(CLASSES.items())[:n_tasks]))
    shared, of_tasks = list(model.shared_parameters()), list(model.task_parameters())
    assert len(ids(shared)) == len(shared) > 0
    assert len(ids(of_tasks)) == len(of_tasks) > 0
    assert not ids(shared) & ids(of_tasks)
    assert ids(shared) | ids(of_tasks) == ids(model.parameters())
    assert set().union(*(own_parameters(model, task) for task in model.heads)) == ids(of_tasks)


@every_architecture
@pytest.mark.parametrize("n_tasks", [1, 2, 5])
def test_outputs_have_their_tasks_names_and_shapes(name, n_tasks):
    classes = {f"task {i}": 2 for i in range(n_tasks)}
    model = build(name, classes).eval()
    assert {task: tuple(output.shape) for task, output in model(images()).items()} == dict.fromkeys(classes, (4, 2))
    assert list(model.heads) == list(classes)


@every_architecture
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1), slice(1), slice(-1, None), slice(0)])
def test_only_the_heads_of_the_asked_tasks_run(name, order):
    model = build(name).eval()
    everything, ran = model(images()), []
    for task, head in model.heads.items():
        head.register_forward_hook(lambda *_, task=task: ran.append(task))
    asked = list(CLASSES)[order]
    outputs = model(images(), tasks=asked)
    assert ran == list(outputs) == asked
    for task in asked:
        assert torch.equal(outputs[task], everything[task])


@every_architecture
def test_a_loss_reaches_shared_parameters_and_its_own_and_no_other_tasks(name):
    model = build(name)
    of_tasks = ids(model.task_parameters())
    for task in CLASSES:
        model.zero_grad()
        loss_of(model, task, images(), 0.5).backward()
        reached = {id(p) for p in model.parameters() if p.grad is not None and p.grad.any()}
        assert reached & of_tasks == own_parameters(model, task)
        assert reached - of_tasks


@every_architecture
def test_all_losses_and_the_penalty_reach_every_parameter(name):
    model = build(name)
    Batch(model)().sum().backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []
    penalty = model.penalty()
    with_penalty = {"soft_sharing", "sluice", "multilinear_relationship", "adashare", "adashare_hard"}
    assert (penalty is not None) == (name in with_penalty)
    if penalty is not None:
        assert penalty.shape == ()
        gradients = torch.autograd.grad(penalty, list(model.parameters()), allow_unused=True)
        assert any(gradient is not None and gradient.any() for gradient in gradients)


@every_architecture
def test_state_round_trip(name, tmp_path):
    assert_state_goes_round(build(name, seed=0), build(name, seed=1), images(), tmp_path)


@every_architecture
def test_same_seed_same_network(name):
    first, second = (build(name, seed=3).state_dict() for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


STEPPING = [
    *("single_step", "single_step(second_order=true)", "split_only", "gradnorm"),
    *("pcgrad", "pcgrad(gradients=representation)"),
]


@pytest.mark.parametrize(
    ("name", "method"), [pair for pair in product(BUILD, STEPPING) if pair != ("soft_sharing", "gradnorm")]
)
def test_balancers_take_a_step(name, method):
    model = build(name).double()
    start = {each: tensor.detach().clone() for each, tensor in model.named_parameters()}
    balancer = balancing.create(method, 3)
    losses = balancer.step(Batch(model, torch.double), model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert losses.shape == (3,)
    assert losses.isfinite().all()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert all(isinstance(parameter, nn.Parameter) for parameter in model.parameters())
    assert [each for each, p in model.named_parameters() if torch.equal(p, start[each])] == []
    assert not list(model.buffers()) or all(buffer.isfinite().all() for buffer in model.buffers())
    if method == "gradnorm":
        assert balancer.task_weights.sum().item() == pytest.approx(3)


@pytest.mark.parametrize("name", ["gated_sharing", "gated_sharing_both"])
def test_gradnorm_compares_gradients_at_the_last_gates_weights(name):
    model = build(name).double()
    layer = list(model.shared_parameters())[-1]
    assert layer is list(model.encoder.units.values())[-1].weights
    for task in range(3):
        (gradient,) = torch.autograd.grad(Batch(model, torch.double).of(task), [layer])
        assert gradient.any()
    start, (path,) = copy.deepcopy(model.state_dict()), [p for p, each in model.named_parameters() if each is layer]
    weights = []
    for method in ("gradnorm", f"gradnorm(layer={path})"):
        model.load_state_dict(start)
        balancer, optimizer = balancing.create(method, 3), torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(5):
            balancer.step(Batch(model, torch.double), model, optimizer)
        weights.append(balancer.task_weights)
    assert torch.equal(weights[0], weights[1])


def test_gradnorm_finds_no_layer_in_soft_sharing():
    model = build("soft_sharing")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match="a layer that every task's loss reaches; that of task 0, counted from 0") as e:
        balancing.create("gradnorm", 3).step(Batch(model), model, optimizer)
    assert "\n" not in str(e.value)


class Fixed(GradientMethod):
    """Gives the gradients the same weights, whatever they are."""

    def aggregate(self, matrix):
        self.matrix = matrix
        weights = torch.tensor([0.5, -1.0, 2.0], dtype=matrix.dtype)
        return weights @ matrix, weights


def losses_of_one_pass(model):
    torch.manual_seed(1)  # AdaShare's draws
    outputs = model(images().double())
    auxiliary = [{name: outputs.pop(name) for name in list(outputs) if name.startswith(f"{task}/")} for task in CLASSES]
    return torch.stack(
        [
            sum((output - 0.3).square().mean() for output in [outputs[task], *more.values()])
            for task, more in zip(CLASSES, auxiliary, strict=True)
        ]
    )


@every_architecture
@pytest.mark.parametrize("gradients", ["shared", "representation"])
def test_weighted_gradients_are_the_gradients_of_weighted_losses(name, gradients):
    model = build(name).double()
    balancer = Fixed(3, gradients=gradients, heads="weighted")
    balancer.step(lambda: losses_of_one_pass(model), model, torch.optim.SGD(model.parameters(), lr=0.0))
    expected = torch.autograd.grad(balancer.weights @ losses_of_one_pass(model), list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize(
    ("name", "n_common"),
    [("task_routing", 1), ("task_routing_late", 3), ("layered_supervision", 1), ("adashare", 1), ("adashare_hard", 1)],
)
def test_representation_is_what_all_tasks_have_in_common_and_the_parameters_after_it(name, n_common):
    model = build(name).double()
    balancer = Fixed(3, gradients="representation")
    balancer.step(lambda: losses_of_one_pass(model), model, torch.optim.SGD(model.parameters(), lr=0.0))
    after = [parameter.numel() for stage in list(model.encoder)[n_common:] for parameter in stage.parameters()]
    assert balancer.matrix.shape == (3, 4 * 4 * 4 * 4 + sum(after))  # of 4 images, features (4, 4, 4)
    assert (balancer.matrix @ balancer.matrix.T).all()
    assert not model.representation._forward_hooks


def test_a_layer_that_runs_before_and_after_the_representation_has_both_gradients():
    torch.manual_seed(0)
    layer, batch = nn.Sequential(nn.Linear(6, 6), nn.Tanh()), torch.rand(4, 6)
    model = TaskRouting(lambda: nn.Sequential(layer, layer), heads(CLASSES), example=(batch,), stages=[0])

    def losses():
        return torch.stack([(output - 0.3).square().mean() for output in model(batch).values()])

    balancer = Fixed(3, gradients="representation")
    balancer.step(losses, model, torch.optim.SGD(model.parameters(), lr=0.0))
    shared = list(layer.parameters())
    for parameter, gradient in zip(shared, torch.autograd.grad(balancer.weights @ losses(), shared), strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@every_architecture
def test_training_lowers_the_losses(name):
    model = build(name)
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=0.03), Batch(model)
    first = batch().sum().item()
    for _ in range(15):
        optimizer.zero_grad()
        batch().sum().backward()
        optimizer.step()
    assert batch().sum().item() < first / 2


@pytest.mark.parametrize("name", [name for name in BUILD if not name.startswith("adashare")])
def test_lenet_shares_in_every_way(name):
    torch.manual_seed(0)
    batch = torch.rand(2, 1, 36, 36)
    own = {task: nn.Sequential(nn.Linear(50, 6), nn.Tanh(), nn.Linear(6, n)) for task, n in CLASSES.items()}
    model = BUILD[name](lenet_in_stages, own, batch).eval()
    assert {task: tuple(each.shape) for task, each in model(batch).items()} == {t: (2, n) for t, n in CLASSES.items()}


def test_adashare_skips_blocks_of_a_wide_residual_network():
    torch.manual_seed(0)
    batch = torch.rand(2, 3, 32, 32)
    model = AdaShare(
        lambda: wide_resnet(10, 1, {"a": 1}).encoder, {"a": nn.Linear(64, 2)}, example=(batch,), stages=[1]
    )
    ran = []
    model.encoder[1].register_forward_hook(lambda *_: ran.append(1))
    on = model.eval()(batch)["a"]
    nn.init.constant_(model.policies["a"].logits, -1)
    off = model(batch)["a"]
    assert ran == [1]
    assert off.shape == (2, 2)
    assert not torch.allclose(on, off)


@pytest.mark.parametrize(
    "name", ["soft_sharing", "cross_stitch", "auxiliary_modules", "multi_backbone", "task_routing"]
)
def test_encoders_of_several_inputs(name):
    torch.manual_seed(0)
    inputs = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6]), torch.tensor([0, 3, 3, 7])

    def encoder():
        return text_classifier(20, {"a": 1}, embedding_dim=5, hidden_dim=6).encoder

    makers = {
        "soft_sharing": lambda own: SoftSharing(encoder, own),
        "cross_stitch": lambda own: CrossStitch(encoder, own),
        "auxiliary_modules": lambda own: AuxiliaryModules(encoder, own, example=inputs),
        "task_routing": lambda own: TaskRouting(encoder, own, example=inputs),
        "multi_backbone": lambda own: two_backbones(encoder, own, inputs),
    }
    outputs = makers[name](heads(CLASSES)).eval()(*inputs)
    assert {task: tuple(each.shape) for task, each in outputs.items()} == {t: (4, n) for t, n in CLASSES.items()}


# Stages


def test_layers_are_grouped_to_stages_with_their_weights():
    encoder = lenet({"a": 1}).encoder
    grouped = in_stages(encoder, (3, 6))
    assert [len(stage) for stage in grouped] == [3, 3, 3]
    batch = torch.rand(2, 1, 36, 36)
    assert torch.equal(stages_of(grouped)(batch), encoder(batch))
    shapes = feature_shapes(stages_of(grouped), (batch,))
    assert [tuple(shape) for shape in shapes] == [(10, 14, 14), (20, 5, 5), (50,)]


def test_a_layer_that_stands_twice_in_a_chain_runs_twice():
    linear = nn.Linear(3, 3)
    x = torch.rand(2, 3)
    torch.testing.assert_close(stages_of(nn.Sequential(linear, linear))(x), linear(linear(x)))


def test_looking_for_shapes_leaves_the_encoder_alone():
    stages = stages_of(convolutions())
    before = {name: tensor.clone() for name, tensor in stages.state_dict().items()}
    feature_shapes(stages, (images(),))
    assert all(torch.equal(tensor, before[name]) for name, tensor in stages.state_dict().items())
    assert stages.training


@pytest.mark.parametrize("ends", [(0,), (9,), (3, 3), (6, 3), (-1,)])
def test_no_empty_stage(ends):
    with pytest.raises(InputError, match=r"ends must rise from 1 to 8 at most, got \("):
        in_stages(lenet({"a": 1}).encoder, ends)


@pytest.mark.parametrize("stages", [[4], [-1], [0, 7]])
def test_no_other_stages_than_there_are(stages):
    with pytest.raises(InputError, match=r"stages 0 to 3, and no -?\d; choose"):
        chosen_stages(stages, 4)
    with pytest.raises(InputError, match=r"stages 0 to 3"):
        CrossStitch(convolutions, heads(CLASSES), stages=stages)


def test_no_encoder_without_stages():
    with pytest.raises(InputError, match="at least one stage"):
        stages_of(nn.Sequential())


def test_an_encoder_that_is_always_the_same_is_not_several():
    encoder = convolutions()
    for make in (lambda: SoftSharing(lambda: encoder, heads(CLASSES)), lambda: separate([lambda: encoder] * 2)):
        with pytest.raises(InputError, match="makes a new one at each call"):
            make()


def test_no_columns_without_tasks():
    with pytest.raises(InputError, match="heads is empty"):
        CrossStitch(convolutions, {})


def test_features_are_tensors():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(InputError, match=r"stage 1 of the encoder must return features"):
        feature_shapes(Stages(nn.Identity(), Pair()), (images(),))


@pytest.mark.parametrize(
    ("source", "target"),
    [((4, 4, 4), (6,)), ((4, 4, 4), (3, 2, 2)), ((4, 4, 4), (3, 8, 8)), ((5,), (6,))],
)
def test_adapters_bring_features_to_another_shape(source, target):
    adapter = Adapter(torch.Size(source), torch.Size(target))
    assert adapter(torch.rand(2, *source)).shape == (2, *target)


def test_no_adapter_from_vectors_to_images():
    with pytest.raises(InputError, match=r"\(5,\) cannot be brought to \(3, 2, 2\); leave"):
        Adapter(torch.Size((5,)), torch.Size((3, 2, 2)))
