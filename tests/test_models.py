"""Networks: shared and task parameters, shapes, and gradients that reach everything."""

import pytest
import torch
from torch import nn

from mtlutils.models import MultiTaskModel, text_classifier


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


MODELS = [text_model, plain_model]


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
