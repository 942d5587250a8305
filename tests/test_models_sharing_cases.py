"""Sharing architectures: what each computes, and the simpler network that it is in its limiting case."""

import copy
from itertools import combinations, pairwise

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

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
    MultiTaskModel,
    Sluice,
    SoftSharing,
    TaskRouting,
)
from mtlutils.models.multilinear_relationship import TensorNormal

TASKS = ("a", "b", "c")


def batch():
    return torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(5))


EXAMPLE = (batch(),)


def encoder():
    """Three stages: (4, 6, 6), the same again, and 6 features."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh()),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()),
        nn.Sequential(nn.Flatten(), nn.Linear(144, 6), nn.Tanh()),
    )


def heads(tasks=TASKS, n_features=6):
    return {task: nn.Linear(n_features, 2) for task in tasks}


def seeded(build, *arguments, **options):
    torch.manual_seed(0)
    return build(*arguments, **options)


def assert_same(outputs, expected):
    assert list(outputs) == list(expected)
    for task, output in outputs.items():
        torch.testing.assert_close(output, expected[task])


def separate(model, own):
    """What networks that have nothing to do with each other would give."""
    return {task: own[task](column(batch())) for task, column in model.encoder.columns.items()}


# Columns


@pytest.mark.parametrize(
    "build",
    [
        lambda own: SoftSharing(encoder, own, strength=0.0),
        lambda own: CrossStitch(encoder, own, alpha_same=1.0),
        lambda own: CrossStitch(encoder, own, alpha_same=1.0, per_channel=True, example=EXAMPLE),
        lambda own: CrossStitch(encoder, own, stages=[]),
        lambda own: GatedSharing(encoder, own, example=EXAMPLE, weight=0.0),
        lambda own: Sluice(encoder, own, example=EXAMPLE, alpha_same=1.0, beta_last=1.0),
    ],
)
def test_without_exchange_they_are_separate_networks(build):
    own = seeded(heads)
    model = build(own)
    assert_same(model(batch()), separate(model, own))


def test_columns_start_apart():
    model = seeded(SoftSharing, encoder, heads())
    first, second, _ = (column[0][0].weight for column in model.encoder.columns.values())
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("stages", [None, [0], [2, 1]])
def test_soft_sharings_penalty_is_the_squared_distance_of_all_pairs(stages):
    model = seeded(SoftSharing, encoder, heads(), strength=0.3, stages=stages)
    columns = list(model.encoder.columns.values())
    expected = sum(
        (one - other).square().sum()
        for stage in (range(3) if stages is None else stages)
        for a, b in combinations(columns, 2)
        for one, other in zip(a[stage].parameters(), b[stage].parameters(), strict=True)
    )
    torch.testing.assert_close(model.penalty(), 0.3 * expected)


def test_soft_sharings_penalty_pulls_columns_together_to_their_mean():
    model = seeded(SoftSharing, encoder, heads(), strength=1.0)
    weights = [column[0][0].weight for column in model.encoder.columns.values()]
    mean = torch.stack(weights).mean(dim=0).detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.penalty().item()
    for _ in range(20):
        optimizer.zero_grad()
        model.penalty().backward()
        optimizer.step()
    assert model.penalty() < 1e-4 * before
    for weight in weights:
        torch.testing.assert_close(weight, mean, rtol=1e-3, atol=1e-4)


def test_soft_sharing_without_strength_or_company_has_penalty_0():
    assert seeded(SoftSharing, encoder, heads(), strength=0.0).penalty() == 0
    assert seeded(SoftSharing, encoder, heads(("a",)), strength=1.0).penalty() == 0
    with pytest.raises(InputError, match=r"must not be negative, got -1"):
        SoftSharing(encoder, heads(), strength=-1)


def test_after_the_last_unit_only_asked_columns_run():
    model, ran = seeded(CrossStitch, encoder, heads(), stages=[0]), []
    for task, column in model.encoder.columns.items():
        for i, stage in enumerate(column):
            stage.register_forward_hook(lambda *_, at=(task, i): ran.append(at))
    model(batch(), tasks=["b"])
    assert sorted(ran) == [("a", 0), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]


@pytest.mark.parametrize("per_channel", [False, True])
def test_cross_stitch_units_mix_the_tasks_features(per_channel):
    model = seeded(CrossStitch, encoder, heads(), stages=[1], per_channel=per_channel, example=EXAMPLE)
    unit = model.encoder.units["1"]
    assert unit.alphas.shape == ((4, 3, 3) if per_channel else (3, 3))
    torch.testing.assert_close(unit.alphas.sum(dim=-1), torch.ones(unit.alphas.shape[:-1]))
    nn.init.normal_(unit.alphas)
    features = [column[1](column[0](batch())) for column in model.encoder.columns.values()]
    expected = {}
    for i, (task, column) in enumerate(model.encoder.columns.items()):
        parts = [
            sum((unit.alphas[c] if per_channel else unit.alphas)[i, j] * features[j][:, c] for j in range(3))
            for c in range(4)
        ]
        expected[task] = model.heads[task](column[2](torch.stack(parts, dim=1)))
    assert_same(model(batch()), expected)


def test_cross_stitch_starts_from_the_given_coefficients():
    alphas = CrossStitch(encoder, heads(), alpha_same=0.7, alpha_other=0.2).encoder.units["2"].alphas
    torch.testing.assert_close(alphas, torch.tensor([[0.7, 0.2, 0.2], [0.2, 0.7, 0.2], [0.2, 0.2, 0.7]]))
    with pytest.raises(InputError, match=r"how many channels there are; give example"):
        CrossStitch(encoder, heads(), per_channel=True)


def test_sluice_mixes_subspaces_of_tasks_and_stages():
    model = seeded(Sluice, encoder, heads(("a", "b")), example=EXAMPLE)
    for unit in model.encoder.units.values():
        nn.init.normal_(unit.alphas)
    features, mixed = dict.fromkeys(("a", "b"), batch()), {"a": [], "b": []}
    for stage in range(3):
        columns = model.encoder.columns
        features = {task: columns[task][stage](x) for task, x in features.items()}
        parts = [part for x in features.values() for part in x.chunk(2, dim=1)]  # (a, 1), (a, 2), (b, 1), (b, 2)
        alphas = model.encoder.units[str(stage)].alphas.reshape(4, 4)
        new = [sum(alphas[i, j] * parts[j] for j in range(4)) for i in range(4)]
        features = {"a": torch.cat(new[:2], dim=1), "b": torch.cat(new[2:], dim=1)}
        for task, x in features.items():
            mixed[task].append(x)
    expected = {}
    for task, head in model.heads.items():
        nn.init.normal_(head.betas)
        pooled = [skip.linear(x.mean(dim=(2, 3))) for skip, x in zip(head.skips[:2], mixed[task][:2], strict=True)]
        each = [*pooled, mixed[task][2]]
        expected[task] = head.head(sum(beta * x for beta, x in zip(head.betas, each, strict=True)))
    assert_same(model(batch()), expected)


@pytest.mark.parametrize("n_subspaces", [1, 2])
def test_sluices_penalty_is_how_far_subspaces_are_from_orthogonal(n_subspaces):
    model = seeded(Sluice, encoder, heads(("a", "b")), example=EXAMPLE, n_subspaces=n_subspaces, orthogonality=0.2)
    expected = torch.zeros(())
    for column in model.encoder.columns.values():
        for weight in (column[0][0].weight, column[1][0].weight, column[2][1].weight):
            for one, other in combinations(weight.flatten(1).chunk(n_subspaces), 2):
                expected = expected + torch.linalg.matrix_norm(one.T @ other).square()
    torch.testing.assert_close(model.penalty(), 0.2 * expected)
    assert (model.penalty() > 0) == (n_subspaces > 1)


def test_subspaces_of_which_one_is_empty_have_no_penalty():
    model = seeded(Sluice, encoder, heads(("a",)), example=EXAMPLE)
    assert model.penalty() > 0
    for weight in (each for each in model.encoder.columns.parameters() if each.dim() > 1):
        weight.data[len(weight) // 2 :] = 0
    assert model.penalty() == 0


def test_sluice_needs_equal_subspaces():
    with pytest.raises(InputError, match=r"stage 0 has 4 channels; choose n_subspaces that divides them"):
        Sluice(encoder, heads(), example=EXAMPLE, n_subspaces=3)
    with pytest.raises(InputError, match=r"orthogonality must not be negative"):
        Sluice(encoder, heads(), example=EXAMPLE, orthogonality=-0.1)


@pytest.mark.parametrize("gate_input", ["lender", "both"])
def test_gates_let_features_of_others_through(gate_input):
    model = seeded(GatedSharing, encoder, heads(("a", "b")), example=EXAMPLE, gate_input=gate_input, stages=[1])
    unit = model.encoder.units["1"]
    nn.init.normal_(unit.weights)
    a, b = (column[1](column[0](batch())) for column in model.encoder.columns.values())

    def gate(number, lender, borrower):
        weight, bias = unit.gates[number].weight[:, :, None, None], unit.gates[number].bias
        seen = torch.cat([lender, borrower], dim=1) if gate_input == "both" else lender
        return nn.functional.conv2d(seen, weight, bias).sigmoid()

    new_a = a + unit.weights[0, 0] * gate(0, b, a) * b
    new_b = b + unit.weights[1, 0] * gate(1, a, b) * a
    columns = model.encoder.columns
    assert_same(
        model(batch()), {task: model.heads[task](columns[task][2](x)) for task, x in (("a", new_a), ("b", new_b))}
    )


def test_gates_see_the_lender_or_both():
    with pytest.raises(InputError, match=r"'lender' or 'both', got 'neither'"):
        GatedSharing(encoder, heads(), example=EXAMPLE, gate_input="neither")
    assert not len(GatedSharing(encoder, heads(("a",)), example=EXAMPLE).encoder.units)


# One encoder


def open_masks(own):
    model = MTAN(encoder, own, example=EXAMPLE)
    for head in model.heads.values():
        for mask in head.attention:
            nn.init.zeros_(mask[4].weight)
            nn.init.constant_(mask[4].bias, 40.0)  # whose sigmoid is 1
    return model


def test_attention_with_open_masks_is_hard_sharing():
    model = seeded(open_masks, heads())
    last = {task: head.head(model.encoder(batch())[-1]) for task, head in model.heads.items()}
    assert_same(model(batch()), last)


def test_attention_masks_each_stage_by_its_features_and_the_attended_ones_before():
    model = seeded(MTAN, encoder, heads(("a",)), example=EXAMPLE)
    first, second, third = model.encoder(batch())
    masks, (carry_first, carry_second) = model.heads["a"].attention, model.extractors
    assert [next(iter(carry.parameters())).shape for carry in model.extractors] == [(4, 4, 3, 3), (6, 144)]
    x = masks[0](first) * first
    x = masks[1](torch.cat([second, carry_first(x)], dim=1)) * second
    x = masks[2](torch.cat([third, carry_second(x)], dim=1)) * third
    assert_same(model(batch()), {"a": model.heads["a"].head(x)})


def test_attention_needs_channels_first():
    with pytest.raises(InputError, match=r"attention needs features \(B, C\) or \(B, C, H, W\), got \(B, 4, 36\)"):
        MTAN(lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(2)), heads(), example=EXAMPLE)


@pytest.mark.parametrize(
    "build",
    [
        lambda encoder, own: TaskRouting(encoder, own, example=EXAMPLE, sigma=1.0),
        lambda encoder, own: LayeredSupervision(encoder, own, levels=dict.fromkeys(TASKS, 2)),
        lambda encoder, own: LayeredSupervision(encoder, own, levels={}),
        lambda encoder, own: MultiBackbone([encoder], own),
        lambda encoder, own: MultilinearRelationship(encoder, own),
        lambda encoder, own: AuxiliaryModules(encoder, own, example=EXAMPLE).eval(),
        lambda encoder, own: AdaShare(encoder, own, example=EXAMPLE, probability=0.99).eval(),
    ],
)
def test_in_their_limiting_case_they_are_hard_sharing(build):
    hard = seeded(lambda: MultiTaskModel(encoder(), heads()))
    # From copies, so that nothing of what is compared is the same module.
    model = build(lambda: copy.deepcopy(hard.encoder), copy.deepcopy(dict(hard.heads.items())))
    assert_same(model(batch()), hard(batch()))


def test_several_backbones_lie_side_by_side():
    model = seeded(MultiBackbone, [encoder, encoder], heads(n_features=12))
    features = torch.cat([each(batch()) for each in model.encoder.encoders], dim=1)
    assert_same(model(batch()), {task: head(features) for task, head in model.heads.items()})


def test_backbones_that_do_not_go_together():
    with pytest.raises(InputError, match="encoders is empty"):
        MultiBackbone([], heads())
    model = MultiBackbone([encoder, lambda: nn.Conv2d(1, 4, 3)], heads())
    with pytest.raises(InputError, match=r"\(3, 6\), \(3, 4, 4, 4\); pool them"):
        model(batch())


def low_level():
    return {**heads(("a", "b")), "low": nn.Sequential(nn.Flatten(), nn.Linear(144, 2))}


def test_a_low_level_task_neither_runs_nor_trains_what_is_above():
    model, ran = seeded(LayeredSupervision, encoder, low_level(), levels={"low": 1}), []
    for i, stage in enumerate(model.encoder):
        stage.register_forward_hook(lambda *_, i=i: ran.append(i))
    output = model(batch(), tasks=["low"])["low"]
    assert ran == [0, 1]
    torch.testing.assert_close(output, model.heads["low"](model.encoder[1](model.encoder[0](batch()))))
    output.square().sum().backward()
    assert [all(p.grad is not None for p in stage.parameters()) for stage in model.encoder] == [True, True, False]
    assert list(model.shared_parameters())[-2] is model.encoder[1][0].weight


def test_levels_are_those_of_tasks_and_reach_the_top():
    with pytest.raises(InputError, match=r"names 'z', which is no task; the tasks are a, b, c"):
        LayeredSupervision(encoder, heads(), levels={"z": 1})
    with pytest.raises(InputError, match=r"stages 0 to 2, and no 3"):
        LayeredSupervision(encoder, heads(), levels={"a": 3})
    with pytest.raises(InputError, match=r"no head is after the encoder's last stage"):
        LayeredSupervision(encoder, heads(), levels=dict.fromkeys(TASKS, 1))


def test_200_tasks_are_routed_through_one_encoder():
    tasks = [f"task {i}" for i in range(200)]
    model = seeded(TaskRouting, encoder, heads(tasks), example=EXAMPLE, sigma=0.5)
    assert sum(p.numel() for p in model.shared_parameters()) == sum(p.numel() for p in encoder().parameters())
    assert [tuple(mask.shape) for mask in model.buffers()] == [(200, 4, 1, 1), (200, 4, 1, 1), (200, 6)]
    for masks in model.buffers():
        assert set(masks.unique().tolist()) == {0, 1}
        assert (masks.flatten(1).sum(dim=1) == masks.shape[1] / 2).all()
        # Each channel is in about half of the masks: 6 standard deviations of 200 draws.
        assert ((masks.flatten(1).sum(dim=0) - 100).abs() < 6 * 50**0.5).all()
    outputs = model(batch())
    assert list(outputs) == tasks
    assert all(output.shape == (3, 2) for output in outputs.values())


def test_a_task_sees_its_own_channels_alone():
    model = seeded(TaskRouting, encoder, heads(), example=EXAMPLE, sigma=0.5, stages=[0, 2])
    first, last = model.buffers()
    features = model.encoder[0](batch())
    expected = {
        task: model.heads[task](last[i] * model.encoder[2](model.encoder[1](first[i] * features)))
        for i, task in enumerate(TASKS)
    }
    assert_same(model(batch()), expected)
    assert_same(model(batch(), tasks=["c"]), {"c": expected["c"]})
    model(batch())["b"].square().sum().backward()
    learns = model.encoder[0][0].weight.grad.flatten(1).any(dim=1)
    assert torch.equal(learns, first[1].flatten().bool())


@pytest.mark.parametrize(("sigma", "n"), [(0.01, 1), (0.3, 1), (0.6, 2), (0.9, 4)])
def test_the_part_of_channels_is_rounded(sigma, n):
    masks = next(TaskRouting(encoder, heads(), example=EXAMPLE, sigma=sigma).buffers())
    assert masks.flatten(1).sum(dim=1).tolist() == [n] * 3


@pytest.mark.parametrize("sigma", [0, -0.5, 1.1, float("nan")])
def test_no_other_sharing_ratio(sigma):
    with pytest.raises(InputError, match=r"above 0 and at most 1; got"):
        TaskRouting(encoder, heads(), example=EXAMPLE, sigma=sigma)


# Auxiliary modules


def test_auxiliary_outputs_are_there_in_training_alone():
    model = seeded(AuxiliaryModules, encoder, heads(), example=EXAMPLE, stages=[0, 2])
    outputs = model(batch(), tasks=["c", "a"])
    assert list(outputs) == ["c", "a", "c/auxiliary", "a/auxiliary"]
    plain = model.without_auxiliary()
    assert type(plain) is MultiTaskModel
    assert plain.training
    for task in ("c", "a"):
        torch.testing.assert_close(outputs[task], plain(batch())[task])
        module, features = model.auxiliary[task], model.encoder.features(batch())
        first = module.adapters["0"].linear(features[0].mean(dim=(2, 3))).relu()
        last = module.adapters["2"].linear(features[2]).relu()
        torch.testing.assert_close(outputs[f"{task}/auxiliary"], module.head(first + last))
    assert_same(model.eval()(batch()), plain(batch()))
    assert not model.without_auxiliary().training


def test_auxiliary_loss_trains_the_shared_layers():
    model = seeded(AuxiliaryModules, encoder, heads(), example=EXAMPLE)
    model(batch())[model.auxiliary_name("b")].square().sum().backward()
    assert all(p.grad.any() for p in model.shared_parameters())
    assert all(p.grad.any() for p in model.auxiliary["b"].parameters())
    assert all(p.grad is None for p in model.heads.parameters())


def test_without_auxiliary_modules_their_parameters_are_gone():
    model = AuxiliaryModules(encoder, heads(), example=EXAMPLE)
    left = {id(p) for p in model.without_auxiliary().parameters()}
    assert left == {id(p) for p in [*model.encoder.parameters(), *model.heads.parameters()]}
    given = heads()
    model = AuxiliaryModules(encoder, heads(), example=EXAMPLE, auxiliary_heads=given, auxiliary_weight=0.4)
    assert all(model.auxiliary[task].head is given[task] for task in TASKS)
    assert model.auxiliary_weight == 0.4


def test_no_auxiliary_modules_of_other_tasks_or_stages():
    with pytest.raises(InputError, match=r"one head for each of the tasks a, b, c"):
        AuxiliaryModules(encoder, heads(), example=EXAMPLE, auxiliary_heads=heads(("a",)))
    with pytest.raises(InputError, match=r"stages is empty"):
        AuxiliaryModules(encoder, heads(), example=EXAMPLE, stages=[])


# Multilinear relationships


def random_prior(sizes=(3, 4, 2)):
    """A tensor normal distribution of random covariances, and weights."""
    torch.manual_seed(0)
    prior = TensorNormal(sizes).double()
    for covariance in prior.buffers():
        factor = torch.randn(len(covariance), len(covariance), dtype=torch.double)
        covariance.copy_(factor @ factor.T + torch.eye(len(covariance)))
    return prior, torch.randn(sizes, dtype=torch.double)


def test_the_prior_is_normal_with_a_kronecker_product_as_covariance():
    prior, weights = random_prior()
    covariance = torch.kron(torch.kron(prior.features, prior.classes), prior.tasks)
    normal = MultivariateNormal(torch.zeros(24, dtype=torch.double), covariance)
    constant = 12 * torch.tensor(2 * torch.pi, dtype=torch.double).log()
    torch.testing.assert_close(prior(weights), -normal.log_prob(weights.flatten()) - constant)


def test_a_flip_flop_update_is_its_formula():
    prior, weights = random_prior()
    others = torch.kron(prior.classes, prior.tasks).inverse()
    unfolded = weights.flatten(1)
    features = unfolded @ others @ unfolded.T / 8 + 0.01 * torch.eye(3)
    classes = weights.movedim(1, 0).flatten(1)
    classes = classes @ torch.kron(features, prior.tasks).inverse() @ classes.T / 6 + 0.01 * torch.eye(4)
    tasks = weights.movedim(2, 0).flatten(1)
    tasks = tasks @ torch.kron(features, classes).inverse() @ tasks.T / 12 + 0.01 * torch.eye(2)
    prior.update(weights, 0.01, ("features", "classes", "tasks"))
    for ours, expected in zip(prior.buffers(), (features, classes, tasks), strict=True):
        torch.testing.assert_close(ours, expected)


def test_identities_make_the_penalty_half_the_squared_norm():
    model = seeded(MultilinearRelationship, encoder, heads(), strength=0.5)
    expected = sum(head.weight.square().sum() for head in model.heads.values())
    torch.testing.assert_close(model.penalty(), 0.25 * expected)


@pytest.mark.parametrize("tasks", [("a",), TASKS])
def test_updates_of_the_covariances_raise_the_likelihood(tasks):
    own = {task: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)) for task in tasks}
    model = seeded(MultilinearRelationship, encoder, own, epsilon=1e-4).double()
    penalties = [model.penalty().item()]
    for _ in range(3):
        model.update_covariances()
        penalties.append(model.penalty().item())
    assert all(later < earlier for earlier, later in pairwise(penalties))
    assert not any(covariance.requires_grad for covariance in model.buffers())


def test_end_of_an_epoch_updates_the_covariances():
    by_hand, by_epoch = (seeded(MultilinearRelationship, encoder, heads()) for _ in range(2))
    by_hand.update_covariances()
    by_epoch.end_epoch()
    for name, covariance in by_hand.named_buffers():
        assert torch.equal(by_epoch.get_buffer(name), covariance)
    assert not torch.equal(by_epoch.priors[0].tasks, torch.eye(len(TASKS)))


def test_related_tasks_are_found():
    model = MultilinearRelationship(encoder, heads())
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 6, generator=generator)
    for task, factor in zip(TASKS, (1.0, 1.0, -1.0), strict=True):
        model.heads[task].weight.data.copy_(factor * weight + 0.1 * torch.randn(2, 6, generator=generator))
    model.update_covariances()
    tasks = model.priors[0].tasks
    correlations = tasks / tasks.diagonal().sqrt().outer(tasks.diagonal().sqrt())
    assert correlations[0, 1] > 0.9
    assert correlations[0, 2] < -0.9


def test_layers_of_one_shape_can_be_tied_alone():
    own = {
        task: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, n))
        for task, n in zip(TASKS, (2, 3, 4), strict=True)
    }
    with pytest.raises(InputError, match=r"layer '2' has shapes \[\(2, 5\), \(3, 5\), \(4, 5\)\] in the heads; give"):
        MultilinearRelationship(encoder, own)
    model = MultilinearRelationship(encoder, own, layers=["0"])
    torch.testing.assert_close(model.penalty(), sum(head[0].weight.square().sum() for head in own.values()) / 2)


def test_the_prior_needs_layers():
    with pytest.raises(InputError, match=r"no fully connected layer for the prior"):
        MultilinearRelationship(encoder, {"a": nn.Identity()})
    with pytest.raises(InputError, match=r"not all heads have a fully connected layer '0'"):
        MultilinearRelationship(encoder, {**heads(("a",)), "b": nn.Sequential(nn.Linear(6, 2))}, layers=["0"])
    for options in ({"epsilon": 0}, {"strength": -1}):
        with pytest.raises(InputError, match=r"strength must not be negative and epsilon positive"):
            MultilinearRelationship(encoder, heads(), **options)
    with pytest.raises(InputError, match=r"order must hold each of features, classes, tasks once"):
        MultilinearRelationship(encoder, heads(), order=("tasks", "classes"))
