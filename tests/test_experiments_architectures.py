"""Sharing architectures: what is built and trained, what a record holds, and what tables and figures make of it."""

import re
from typing import get_args

import pytest
import torch
from made_up import a_record
from shared import without_details
from torch.nn.functional import cross_entropy

from mtlutils import experiments, figures, losses, models, report, training
from mtlutils.errors import InputError
from mtlutils.experiments import architectures
from mtlutils.experiments.architectures import Architecture, ArchitectureSettings

TASKS = ("top-left", "bottom-right")
EXPERIMENT = experiments.load("architectures")
FEW = {"train_pairs": 24, "validation_pairs": 8, "test_pairs": 8, "batch_size": 4}
# Convolutions 9×9 from 1 to 10 and 5×5 from 10 to 20 channels, 500 to 50 features; a head.
ENCODER = (81 * 10 + 10) + (250 * 20 + 20) + (500 * 50 + 50)
HEAD = 50 * 10 + 10
SEVERAL = ("soft_sharing", "cross_stitch", "sluice", "gated_sharing", "mtan", "multi_backbone")  # encoders, two of them
BLOCKS = (9 * 20 * 20 + 20) + (50 * 50 + 50)


def network(**options):
    torch.manual_seed(0)
    return architectures.network(ArchitectureSettings(**FEW | options), dict.fromkeys(TASKS, 10))


def run(tmp_path, seed=0, **options):
    return EXPERIMENT.run("equal", seed, results=tmp_path, **FEW | options)


def norms(model):
    """Widths of all batch norms."""
    return sorted(
        layer.num_features for layer in model.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)
    )


def numbers(record):
    """What training gave, without the sizes of the network."""
    return record.curves, {name: value for name, value in record.metrics.items() if not name.startswith("model/")}


# Networks


@pytest.mark.parametrize(
    ("architecture", "shared", "task", "inference"),
    [
        ("hard_sharing", ENCODER, 2 * HEAD, ...),
        ("soft_sharing", 2 * ENCODER, 2 * HEAD, ...),
        ("cross_stitch", 2 * ENCODER + 3 * 4, 2 * HEAD, ...),
        ("sluice", 2 * ENCODER + 3 * 16, 2 * (HEAD + 3 + (10 + 20) * 50), ...),
        ("gated_sharing", 2 * ENCODER + 2 * sum(c * c + c + 1 for c in (10, 20, 50)), 2 * HEAD, ...),
        # What carries features on has no first stage; of an attention module, the layers come first, then batch norms.
        ("mtan", 2 * ENCODER - 820, 2 * (HEAD + 2 * 10**2 + 3 * (20**2 + 50**2) + 4 * (10 + 20 + 50)), ...),
        ("multilinear_relationship", ENCODER, 2 * HEAD, ...),
        ("task_routing", ENCODER, 2 * HEAD, ...),
        ("layered_supervision", ENCODER, HEAD + 500 * 10 + 10, ...),
        ("multi_backbone", 2 * ENCODER, 2 * (100 * 10 + 10), ...),
        ("auxiliary_modules", ENCODER, 2 * (2 * HEAD + (10 + 20 + 50) * 50 + 3 * 50), ENCODER + 2 * HEAD),
    ],
)
def test_parameters_are_counted(architecture, shared, task, inference):
    assert architectures.parameter_counts(network(architecture=architecture)) == {
        "model/parameters/shared": shared,
        "model/parameters/task": task,
        "model/parameters/inference": shared + task if inference is ... else inference,
    }


def test_adashare_is_counted_with_the_blocks_that_some_task_runs():
    model = network(architecture="adashare", blocks=1)
    assert model.blocks == [2, 4]
    model.policies["top-left"].logits.data.copy_(torch.tensor([1.0, -1.0]))
    model.policies["bottom-right"].logits.data.fill_(-1.0)
    assert architectures.parameter_counts(model) == {
        "model/parameters/shared": ENCODER + BLOCKS,
        "model/parameters/task": 2 * HEAD + 2 * 2,
        "model/parameters/inference": ENCODER + 9 * 20 * 20 + 20 + 2 * HEAD,
    }


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_batch_norm_follows_every_stage_of_every_encoder(architecture):
    n_blocks = int(architecture == "adashare")
    plain, normalised = (
        network(architecture=architecture, blocks=n_blocks, batch_norm=batch_norm) for batch_norm in (False, True)
    )
    n_encoders = 2 if architecture in SEVERAL else 1
    widths = [10, 20, 50] + n_blocks * [20, 50]
    # attention's second encoder, which carries features on, has no first stage
    expected = sorted(n_encoders * widths)[1 if architecture == "mtan" else 0 :]
    added = [norms(normalised), norms(plain)]
    for width in added[1]:
        added[0].remove(width)
    assert added[0] == expected


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_first_encoder_starts_alike_and_a_run_completes(architecture, batch_norm, tmp_path):
    options = {"architecture": architecture, "blocks": int(architecture == "adashare"), "batch_norm": batch_norm}
    torch.manual_seed(0)
    lenet = models.lenet(dict.fromkeys(TASKS, 10))
    first = next(network(**options).encoder.parameters())
    assert torch.equal(first, next(lenet.parameters()))
    record = run(tmp_path, **options)
    assert record.status == "completed"
    assert record.timing.step_memory_bytes > 0
    assert {f"test/accuracy/{task}" for task in TASKS} < set(record.metrics)


def test_hard_sharing_is_the_other_experiments_network_and_training(tmp_path):
    few = {"train_items": 24, "evaluated_items": 8, "batch_size": 4}
    other = experiments.load("balancing_landscape").run("equal", 3, results=tmp_path, dataset="multi_mnist", **few)
    assert numbers(run(tmp_path, seed=3)) == (other.curves, other.metrics)


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "task_routing", "sigma": 1.0},
        {"architecture": "multilinear_relationship", "prior_strength": 0.0},
        {"architecture": "auxiliary_modules", "auxiliary_weight": 0.0},
    ],
    ids=lambda options: options["architecture"],
)
def test_limits_are_hard_sharing(options, tmp_path):
    _, metrics = numbers(run(tmp_path, **options))
    _, expected = numbers(run(tmp_path))
    assert metrics == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "hard_sharing", "batch_norm": True},
        {"architecture": "soft_sharing", "soft_strength": 1.0},
        {"architecture": "cross_stitch", "alpha_same": 0.5},
        {"architecture": "sluice", "orthogonality": 1.0},
        {"architecture": "gated_sharing", "gate_weight": 0.5},
        {"architecture": "multilinear_relationship", "prior_strength": 9.0},
        {"architecture": "multilinear_relationship", "covariance_every": 2},
        {"architecture": "multilinear_relationship", "covariance_every": 2, "least_variance": 1.0},
        {"architecture": "task_routing", "sigma": 0.2},
        {"architecture": "layered_supervision", "lower_task": "top-left"},
        {"architecture": "multi_backbone", "backbones": 3},
        {"architecture": "auxiliary_modules", "auxiliary_weight": 0.1},
        {"architecture": "adashare", "policy_epochs": 0.9},
    ],
    ids=lambda options: list(options)[-1],
)
def test_options_change_what_is_trained(options, tmp_path):
    common = {"architecture": options["architecture"], "blocks": int(options["architecture"] == "adashare")}
    one, other = (numbers(run(tmp_path, **common | each))[1] for each in ({}, options))
    assert one != other


def test_options_of_adashare_are_its_models():
    options = {"policy_temperature": 3.0, "policy_sparsity": 0.2, "policy_sharing": 0.3}
    model = network(architecture="adashare", blocks=1, **options)
    assert (model.temperature.item(), model.sparsity, model.sharing) == (3.0, 0.2, 0.3)


def test_single_task_models_are_plain(tmp_path):
    records = EXPERIMENT.runs(["single_task"], [0], results=tmp_path, **FEW)
    assert [record.metrics["model/parameters/inference"] for record in records] == [ENCODER + HEAD] * 2
    with pytest.raises(InputError, match="sluice needs two tasks; train a single one with hard_sharing"):
        EXPERIMENT.runs(["single_task"], [0], results=tmp_path, architecture="sluice", **FEW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "adashare"}, "adashare needs blocks that tasks can skip; set blocks to 1 or more"),
        ({"architecture": "adashare", "blocks": 1, "policy_epochs": 1.0}, "policy_epochs must be below epochs"),
        ({"architecture": "sluice", "subspaces": 3}, "choose n_subspaces that divides them"),
        ({"architecture": "segnet"}, "architecture: Input should be"),
    ],
)
def test_wrong_settings_are_one_line(options, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        run(tmp_path, **options)
    assert "\n" not in str(error.value)


# Training


def test_auxiliary_losses_are_added_in_training_alone():
    model = network(architecture="auxiliary_modules", auxiliary_weight=0.5)
    images, target = torch.rand(3, 1, 36, 36), torch.tensor([1, 0, 9])
    loss = losses.supervised_twice(cross_entropy, 0.5)
    outputs = model(images)
    auxiliary = models.AuxiliaryModules.forward(model, images)
    assert list(outputs) == list(TASKS)
    for task in TASKS:
        expected = cross_entropy(auxiliary[task], target) + 0.5 * cross_entropy(auxiliary[f"{task}/auxiliary"], target)
        torch.testing.assert_close(loss(outputs[task], target), expected)
    assert list(model(images, tasks=["bottom-right"])) == ["bottom-right"]
    plain = model.eval()(images)
    torch.testing.assert_close(loss(plain["top-left"], target), cross_entropy(auxiliary["top-left"], target))


@pytest.fixture
def done(monkeypatch):
    """What architectures do between steps: (name, number of the batch in its epoch)."""
    calls, numbers = [], []
    before = architectures.Watched.batches

    def counted(self, *arguments):
        for number, batch in enumerate(before(self, *arguments)):
            numbers.append(number)
            yield batch

    monkeypatch.setattr(architectures.Watched, "batches", counted)
    for owner, name in ((models.MultilinearRelationship, "update_covariances"), (models.AdaShare, "retrain")):
        method = getattr(owner, name)

        def noted(self, *arguments, _name=name, _method=method):
            calls.append((_name, len(numbers)))
            return _method(self, *arguments)

        monkeypatch.setattr(owner, name, noted)
    return calls


def test_covariances_are_estimated_within_an_epoch(done, tmp_path):
    run(tmp_path, architecture="multilinear_relationship", covariance_every=2, epochs=2)
    # six batches an epoch: before the third and the fifth, and at the end
    assert [steps for _, steps in done] == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(("policy_epochs", "steps"), [(0.5, 3), (1.0, 6), (1.4, 9)])
def test_adashare_trains_anew_once_after_its_part_of_the_batches(done, policy_epochs, steps, tmp_path):
    run(tmp_path, architecture="adashare", blocks=1, epochs=2, policy_epochs=policy_epochs)
    assert done == [("retrain", steps)]


@pytest.mark.parametrize("policy_epochs", [0.5, 1.5])
def test_adashare_resumes_in_its_phase(policy_epochs, tmp_path, monkeypatch):
    options = {"architecture": "adashare", "blocks": 1, "epochs": 2, "policy_epochs": policy_epochs}
    expected = run(tmp_path / "whole", **options)
    save = training.checkpoints.save

    def saved_and_gone(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(training.checkpoints, "save", saved_and_gone)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", **options)
    monkeypatch.undo()
    assert run(tmp_path / "parts", **options).outcome() == expected.outcome()


# Tables and figures


def made_up(architecture, seed, accuracies, seconds=0.01, blocks=0, rate=0.2, size=1000, method="equal", tasks=TASKS):
    values = dict(zip(tasks, accuracies, strict=True))
    return a_record(
        experiment="architectures",
        method=method,
        seed=seed,
        parameters={"architecture": architecture, "blocks": blocks, "learning_rate": rate, "tasks": list(tasks)},
        status="completed" if None not in accuracies else "diverged",
        metrics={
            **{f"{split}/accuracy/{task}": each for split in ("validation", "test") for task, each in values.items()},
            "model/parameters/shared": size,
            "model/parameters/task": 500,
            "model/parameters/inference": size,
        },
        timing=a_record().timing.model_dump()
        | {"processor_seconds_per_step": seconds, "step_memory_bytes": round(1e8 * seconds)},
    )


def single(seed, accuracies, **changed):
    return [
        made_up("hard_sharing", seed, [accuracy], 0.005, method="single_task", tasks=[task], **changed)
        for task, accuracy in zip(TASKS, accuracies, strict=True)
    ]


FOUND = [
    *single(0, [0.8, 0.5]),
    *single(1, [0.5, 0.5]),
    made_up("hard_sharing", 0, [0.88, 0.45]),
    made_up("hard_sharing", 1, [0.5, 0.5], seconds=0.02),
    made_up("sluice", 0, [0.88, 0.55], seconds=0.03, size=3000),
    made_up("sluice", 1, [0.6, 0.55], seconds=0.06, size=3000),
    made_up("adashare", 0, [0.8, 0.5], blocks=2),
    made_up("adashare", 1, [None, None], blocks=2),
]


def rows_of(shown):
    body = without_details(shown).tbody
    return {row.th.text: [cell.text for cell in row.find_all("td")] for row in body.find_all("tr")}


def test_table_of_costs_and_improvements():
    rows = rows_of(report.sharing({"Here": FOUND}))
    assert list(rows) == ["single_task", "hard_sharing", "sluice", "adashare, 2 + 2 blocks"]
    # two networks of 1,500 parameters, 1,000 of them at inference; two steps, one after the other
    assert rows["single_task"][:3] == ["–", "3.0", "2.0"]
    assert rows["single_task"][3].startswith("0.75 ± ")
    assert rows["single_task"][4].startswith("0.38 ± ")
    assert rows["hard_sharing"][3:5] == ["1.00 ± 0.00", "1.00 ± 0.00"]
    assert rows["sluice"][1:5] == ["3.5", "3.0", "3.00 ± 0.00", "3.00 ± 0.00"]
    # Δm: seed 0 gives (10 + 10) / 2, seed 1 (20 + 10) / 2; half the interval is 12.7062 · 2.5
    assert rows["sluice"][0] == "+12.50 ± 31.77"
    assert rows["hard_sharing"][0] == "+0.00 ± 0.00"
    lost = " (1 of 2 diverged)"
    diverged = rows["adashare, 2 + 2 blocks"]
    assert [diverged[0], *diverged[-2:]] == [f"+0.00{lost}", f"80.00{lost}", f"50.00{lost}"]


def test_table_without_costs_keeps_the_rest():
    rows, alone = rows_of(report.sharing({"Here": FOUND})), report.sharing({"Here": FOUND}, costs=False)
    assert rows_of(alone) == {scheme: [cells[0], *cells[-2:]] for scheme, cells in rows.items()}
    assert "Time:" not in alone.data


def test_each_scheme_is_compared_at_the_rate_that_validation_chooses_for_it():
    found = [
        *single(0, [0.5, 0.5], rate=0.1),
        *single(0, [0.4, 0.4], rate=0.2),
        made_up("hard_sharing", 0, [0.5, 0.5], rate=0.1),
        made_up("hard_sharing", 0, [0.6, 0.6], rate=0.2),
        made_up("sluice", 0, [0.4, 0.5], rate=0.1),
        made_up("sluice", 0, [None, None], rate=0.2),
    ]
    shown = report.rates({"Here": found})
    assert rows_of(shown) == {
        "single_task": ["50.00", "40.00", "0.1", "–"],
        "hard_sharing": ["50.00", "60.00", "0.2", "+20.00"],
        "sluice": ["45.00", "diverged", "0.1", "-10.00"],
    }
    best = without_details(shown).select("td.best")
    assert [cell.text for cell in best] == ["50.00", "60.00", "45.00"]


def test_figure_has_a_mark_for_every_scheme_that_ended_well():
    figure = figures.improvement_against_size({"Here": FOUND})
    for axis, x in zip(figure.axes, (3.5, 3.0), strict=True):
        marks = {bars.get_label(): bars.lines[0].get_xydata()[0].tolist() for bars in axis.containers}
        assert list(marks) == ["single_task", "hard_sharing", "sluice"]
        assert marks["sluice"] == pytest.approx([x, 12.5])
        assert marks["single_task"][1] == 0


def test_every_architecture_is_drawn():
    titles = [axis.get_title() for axis in figures.sharing_schemes().axes]
    assert titles[0] == "single_task"
    assert set(titles[1:]) == set(get_args(Architecture))
