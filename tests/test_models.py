"""Networks: shared and task parameters, shapes, and gradients that reach everything."""

import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, batch_norm, conv2d, linear, max_pool2d

from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel, lenet, text_classifier, wide_resnet
from mtlutils.models.wide_resnet import Block


def text_model():
    """A text classifier of three tasks, and a batch of four texts of which one is empty."""
    torch.manual_seed(0)
    model = text_classifier(20, {"2-class": 2, "4-class": 4, "1-class": 1}, embedding_dim=5, hidden_dim=6)
    tokens, offsets = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6]), torch.tensor([0, 3, 3, 7])
    return model, (tokens, offsets), {"2-class": (4, 2), "4-class": (4, 4), "1-class": (4, 1)}


def plain_model():
    """The bare structure, with an encoder of two inputs."""
    torch.manual_seed(0)
    model = MultiTaskModel(nn.Bilinear(3, 2, 5), {"a": nn.Linear(5, 1), "b": nn.Sequential(nn.Linear(5, 7), nn.ReLU())})
    return model, (torch.randn(4, 3), torch.randn(4, 2)), {"a": (4, 1), "b": (4, 7)}


def image_model():
    """The smallest wide residual network, of two tasks, and a batch of four images."""
    torch.manual_seed(0)
    return wide_resnet(10, 1, {"2-class": 2, "5-class": 5}), (images(4),), {"2-class": (4, 2), "5-class": (4, 5)}


def images(n):
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def lenet_model(head="linear"):
    """A LeNet of two tasks, and a batch of four pairs."""
    torch.manual_seed(0)
    return lenet({"2-class": 2, "5-class": 5}, head), (pairs(4),), {"2-class": (4, 2), "5-class": (4, 5)}


def lenet_model_with_hidden_heads():
    return lenet_model("hidden")


def pairs(n):
    return torch.rand(n, 1, 36, 36, generator=torch.Generator().manual_seed(5))


MODELS = [text_model, plain_model, image_model, lenet_model, lenet_model_with_hidden_heads]


@pytest.mark.parametrize("make", MODELS)
def test_shared_and_task_parameters_are_all_parameters_each_once(make):
    model, _, _ = make()
    shared = {id(parameter) for parameter in model.shared_parameters()}
    of_tasks = {id(parameter) for parameter in model.task_parameters()}
    assert shared
    assert of_tasks
    assert not shared & of_tasks
    assert shared | of_tasks == {id(parameter) for parameter in model.parameters()}


@pytest.mark.parametrize("make", MODELS)
def test_outputs_have_their_tasks_names_and_shapes(make):
    model, inputs, shapes = make()
    assert {task: tuple(output.shape) for task, output in model(*inputs).items()} == shapes
    assert list(model.heads) == list(shapes)


@pytest.mark.parametrize("make", MODELS)
def test_every_task_reaches_the_shared_parameters_and_its_own_head_alone(make):
    model, inputs, shapes = make()
    for task in shapes:
        model.zero_grad()
        model(*inputs)[task].square().sum().backward()
        for parameter in model.shared_parameters():
            gradient = parameter.grad.to_dense()
            assert gradient.isfinite().all()
            assert gradient.abs().sum() > 0
        for other, head in model.heads.items():
            for parameter in head.parameters():
                assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) == (other == task)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1), slice(1), slice(-1, None), slice(0)])
def test_only_the_heads_of_the_asked_tasks_run(make, order):
    model, inputs, shapes = make()
    everything = model(*inputs)
    ran = []
    for task, head in model.heads.items():
        head.register_forward_hook(lambda *_, task=task: ran.append(task))
    asked = list(shapes)[order]
    outputs = model(*inputs, tasks=asked)
    assert ran == list(outputs) == asked
    for task in asked:
        torch.testing.assert_close(outputs[task], everything[task])


def test_text_is_the_mean_of_its_tokens_embeddings_and_then_two_layers():
    model, (tokens, offsets), _ = text_model()
    encoder, texts = model.encoder, [tokens[0:3], tokens[3:3], tokens[3:7], tokens[7:8]]
    outputs = model(tokens, offsets)
    for i, text in enumerate(texts):
        mean = encoder.embedding.weight[text].mean(dim=0) if len(text) else torch.zeros(5)
        hidden = (encoder.hidden.weight @ mean + encoder.hidden.bias).clamp(min=0)
        for task, head in model.heads.items():
            torch.testing.assert_close(outputs[task][i], head.weight @ hidden + head.bias)


def test_gradients_of_the_embedding_are_sparse():
    model, inputs, _ = text_model()
    sum(output.sum() for output in model(*inputs).values()).backward()
    gradient = model.encoder.embedding.weight.grad
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) == set(inputs[0].tolist())


# Wide residual networks


def n_parameters(depth, width, n_classes):
    with torch.device("meta"):
        model = wide_resnet(depth, width, n_classes)
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_of_the_papers_network():
    # 36.5 million in Zagoruyko & Komodakis 2016; to the last one in their code, for CIFAR-100.
    assert n_parameters(28, 10, {"100-class": 100}) == 36_536_884
    # One more output a class of another task: 640 weights and a bias
    assert n_parameters(28, 10, {"100-class": 100, "2-class": 2, "3-class": 3}) == 36_536_884 + 5 * 641


@pytest.mark.parametrize(
    ("depth", "width", "millions"),
    [(16, 8, 11.0), (16, 10, 17.1), (22, 8, 17.2), (22, 10, 26.8), (28, 12, 52.5), (40, 1, 0.6), (40, 4, 8.9)],
)
def test_parameters_in_millions_are_the_published_ones(depth, width, millions):
    # Zagoruyko & Komodakis 2016, for CIFAR-10
    assert round(n_parameters(depth, width, {"10-class": 10}) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("depth", "width"), [(4, 1), (9, 1), (11, 1), (12, 2), (15, 1), (17, 1), (20, 1), (-2, 1), (10, 0), (10, -1)]
)
def test_there_is_no_network_of_another_depth_or_width(depth, width):
    with pytest.raises(InputError, match=rf"depth 10, 16, 22, .* and width 1, 2, .*got {depth}-{width}$") as error:
        wide_resnet(depth, width, {"2-class": 2})
    assert "\n" not in str(error.value)


def reference(model, x, depth, width):
    """What a wide residual network with the model's weights gives, written out after the authors' own code."""
    state = iter(list(model.encoder.state_dict().values()))

    def activate(x):
        weight, bias, _, _, _ = (next(state) for _ in range(5))
        return batch_norm(x, None, None, weight, bias, training=True).clamp(min=0)

    x = conv2d(x, next(state), padding=1)
    for group in range(3):
        for block in range((depth - 4) // 6):
            stride = 2 if group > 0 and block == 0 else 1
            active = activate(x)
            out = conv2d(active, next(state), stride=stride, padding=1)
            out = conv2d(activate(out), next(state), padding=1)
            widens = block == 0 and (width > 1 or group > 0)
            x = out + (conv2d(active, next(state), stride=stride) if widens else x)
            assert x.shape[1:] == (width * 16 * 2**group, 32 // 2**group, 32 // 2**group)
    x = adaptive_avg_pool2d(activate(x), 1)[:, :, 0, 0]
    assert next(state, None) is None
    return {task: linear(x, head.weight, head.bias) for task, head in model.heads.items()}


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (10, 2), (16, 1), (22, 2)])
def test_network_is_the_authors(depth, width):
    torch.manual_seed(depth)
    model = wide_resnet(depth, width, {"2-class": 2, "5-class": 5})
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):  # which would be 1 and 0 everywhere
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
        outputs = model(images(4))
        expected = reference(model, images(4), depth, width)
    for task, output in outputs.items():
        torch.testing.assert_close(output, expected[task], rtol=1e-4, atol=1e-5)


def test_three_groups_of_blocks_see_32_16_and_8_pixels():
    model, inputs, _ = image_model()
    seen = []
    for module in model.modules():
        if isinstance(module, Block):
            module.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    model(*inputs)
    assert seen == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize("make", [image_model, lenet_model, lenet_model_with_hidden_heads])
def test_every_parameter_has_a_gradient(make):
    model, inputs, _ = make()
    sum(output.square().sum() for output in model(*inputs).values()).backward()
    assert [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_convolutions_start_from_he_by_fan_out():
    torch.manual_seed(0)
    model = wide_resnet(16, 4, {"2-class": 2})
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight
            n_out, _, height, width = weight.shape
            standard = (2 / (n_out * height * width)) ** 0.5
            n = weight.numel()
            assert abs(weight.mean()) < 5 * standard / n**0.5
            assert weight.std().item() == pytest.approx(standard, rel=5 / (2 * n) ** 0.5)
            assert weight.abs().max() > 2 * standard  # normal, and neither uniform nor cut


@pytest.mark.parametrize("make", [image_model, lenet_model])
def test_channels_last_layout_gives_the_same_numbers(make):
    contiguous, (batch,), _ = make()
    other, _, _ = make()
    other.to(memory_format=torch.channels_last)
    convolutions = [module for module in other.modules() if isinstance(module, nn.Conv2d)]
    assert all(each.weight.is_contiguous(memory_format=torch.channels_last) for each in convolutions)
    expected = contiguous(batch)
    outputs = other(batch.to(memory_format=torch.channels_last))
    for task, output in outputs.items():
        torch.testing.assert_close(output, expected[task], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [image_model, lenet_model])
def test_same_seed_same_network(make):
    first, second = (dict(make()[0].named_parameters()) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


# LeNet

N_SHARED = 10 * 9 * 9 + 10 + 20 * 10 * 5 * 5 + 20 + 500 * 50 + 50
N_HIDDEN = 50 * 50 + 50


@pytest.mark.parametrize(("head", "n_hidden"), [("linear", 0), ("hidden", N_HIDDEN)])
def test_parameters_of_lenet(head, n_hidden):
    model = lenet({"a": 10, "b": 10, "c": 3}, head)
    assert sum(each.numel() for each in model.shared_parameters()) == N_SHARED
    n_of_tasks = [sum(each.numel() for each in each_head.parameters()) for each_head in model.heads.values()]
    assert n_of_tasks == [n_hidden + 50 * 10 + 10, n_hidden + 50 * 10 + 10, n_hidden + 50 * 3 + 3]


def test_lenet_has_linear_heads_unless_asked():
    assert [type(head) for head in lenet({"a": 10}).heads.values()] == [nn.Linear]


@pytest.mark.parametrize("head", ["linear", "hidden"])
def test_lenet_is_relu_and_then_pooling(head):
    # in the network it is the other way round
    model, (batch,), _ = lenet_model(head)
    state = list(model.encoder.parameters())

    def conventional(x):
        x = max_pool2d(conv2d(x, *state[:2]).clamp(min=0), 2)
        assert x.shape[1:] == (10, 14, 14)
        x = max_pool2d(conv2d(x, *state[2:4]).clamp(min=0), 2)
        assert x.shape[1:] == (20, 5, 5)
        features = linear(x.flatten(1), *state[4:]).clamp(min=0)
        outputs = {}
        for task, layers in model.heads.items():
            own = list(layers.parameters())
            hidden = linear(features, *own[:2]).clamp(min=0) if head == "hidden" else features
            outputs[task] = linear(hidden, *own[-2:])
        return outputs

    outputs, expected = model(batch), conventional(batch)
    totals = [sum(output.square().sum() for output in each.values()) for each in (outputs, expected)]
    gradients = [torch.autograd.grad(total, list(model.parameters())) for total in totals]
    for task in outputs:
        torch.testing.assert_close(outputs[task], expected[task])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
