"""Networks: shared and task parameters, shapes, and gradients that reach everything."""

import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, batch_norm, conv2d, linear

from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel, text_classifier, wide_resnet
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


MODELS = [text_model, plain_model, image_model]


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


def test_every_parameter_has_a_gradient():
    model, inputs, _ = image_model()
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


def test_channels_last_layout_gives_the_same_numbers():
    contiguous, (batch,), _ = image_model()
    other, _, _ = image_model()
    other.to(memory_format=torch.channels_last)
    assert other.encoder[1].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    expected = contiguous(batch)
    outputs = other(batch.to(memory_format=torch.channels_last))
    for task, output in outputs.items():
        torch.testing.assert_close(output, expected[task], rtol=1e-4, atol=1e-5)


def test_same_seed_same_network():
    first, second = (dict(image_model()[0].named_parameters()) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
