"""Tables on Fingers: what they show is what the records say."""

import pytest
from bs4 import BeautifulSoup
from made_up import a_record
from shared import without_details

from mtlutils import report

NETWORKS = {"joint": ("single_task", ["joint"]), "multi": ("equal", ["count", "hand"])}
T_95 = 12.706204736  # 97.5 % quantile of Student's t with one degree of freedom


def tuned(tasks, optimizer, rate, test, validation=0.5, seed=0, method=None):
    """A record of one setting with the given accuracies of the pair; one of None diverged."""
    return a_record(
        method=method or ("equal" if len(tasks) > 1 else "single_task"),
        seed=seed,
        parameters={"tasks": tasks, "optimizer": optimizer, "learning_rate": rate},
        metrics={"test/accuracy/pair": test, "validation/accuracy/pair": validation},
        status="completed" if test is not None else "diverged",
    )


def network(tasks, seed, **curves):
    """A record of a network with the curves (losses, accuracies) of each task."""
    curves = {
        f"test/{what}/{task}": curve
        for task, both in curves.items()
        for what, curve in zip(("loss", "accuracy"), both, strict=True)
    }
    method = "equal" if len(tasks) > 1 else "single_task"
    return a_record(method=method, seed=seed, parameters={"tasks": tasks}, curves=curves)


def table(shown):
    """Heads of the last row, and row -> texts of its cells."""
    page = without_details(shown)
    heads = [cell.text for cell in page.select("thead tr")[-1].select("th.col_heading")]
    return heads, {row.th.text: [cell.text for cell in row.select("td")] for row in page.select("tbody tr") if row.th}


def tuning(found):
    return report.tuning({"Here": found}, NETWORKS, "pair", 0.99)


def test_tuning_shows_every_setting_and_counts_those_that_reach_the_threshold():
    found = [
        tuned(["joint"], "sgd", 0.1, 0.98, validation=0.9),
        tuned(["joint"], "adam", 0.1, None, validation=None),
        tuned(["joint"], "adam", 0.01, 0.97, validation=0.8),
        tuned(["count", "hand"], "sgd", 0.1, 0.99, validation=0.7),
        tuned(["count", "hand"], "adam", 0.1, 1.0, validation=0.6),
        tuned(["hand"], "sgd", 0.5, 1.0),  # other networks
        tuned(["count", "hand"], "sgd", 0.5, 1.0, method="dwa"),
    ]
    shown = tuning(found)
    heads, rows = table(shown)
    assert heads == ["0.01", "0.1", "0.1", "end at 99 % or more", "chosen on validation images"]
    tops = [cell.text for cell in BeautifulSoup(shown.data, "html.parser").select("thead tr")[0].select("th")]
    assert [top for top in tops if top.strip()] == ["adam", "sgd", "settings that"]
    assert rows == {
        "joint": ["97.00", "diverged", "98.00", "0 of 3", "98.00 (sgd, 0.1)"],
        "multi": ["–", "100.00", "99.00", "2 of 2", "99.00 (sgd, 0.1)"],
    }


def test_tuning_is_of_means_over_seeds():
    found = [
        *(tuned(["joint"], "sgd", 0.1, value, seed=seed) for seed, value in enumerate((0.98, 1.0))),
        *(tuned(["joint"], "sgd", 0.2, value, seed=seed) for seed, value in enumerate((0.98, 0.999))),
        # a run diverged: no setting to count or to choose
        tuned(["joint"], "sgd", 0.3, 1.0, validation=1.0, seed=0),
        tuned(["joint"], "sgd", 0.3, None, validation=None, seed=1),
    ]
    _, rows = table(tuning(found))
    assert rows["joint"] == [
        f"99.00 ± {T_95:.2f}",
        f"98.95 ± {T_95 * 0.95:.2f}",
        "100.00 (1 of 2 diverged)",
        "1 of 3",
        f"99.00 ± {T_95:.2f} (sgd, 0.1)",
    ]
    assert rows["multi"] == ["–", "–", "–", "0 of 0", "–"]


def task_by_task(found):
    return report.task_by_task({"Here": found}, ["count", "hand"], {"own": "single_task", "shared": "equal"})


def test_task_by_task_is_paired_over_seeds():
    found = [
        network(["count"], 0, count=([0.5, 0.3], [0.7, 0.9])),
        network(["hand"], 0, hand=([0.2, 0], [1.0] * 2)),
        network(["count", "hand"], 0, count=([0.3, 0.1], [0.9] * 2), hand=([0.2, 0], [0.5] * 2)),
        network(["count"], 1, count=([0.6, 0.4], [0.8] * 2)),
        network(["hand"], 1, hand=([0.3, 0.1], [1.0] * 2)),
        network(["count", "hand"], 1, count=([0.6, 0.4], [0.8] * 2), hand=([0.2, 0], [1.0] * 2)),
        # nothing to compare them with
        network(["count", "hand"], 2, count=([9.1, 8.9], [0.0] * 2), hand=([9.1, 8.9], [0.0] * 2)),
        network(["joint"], 0, joint=([9.1, 8.9], [0.0] * 2)),
    ]
    shown = task_by_task(found)
    heads, rows = table(shown)
    assert heads == ["own", "shared"] * 2
    assert rows == {
        "count": [
            f"0.4500 ± {T_95 * 0.05:.4f}",
            f"0.3500 ± {T_95 * 0.15:.4f}",
            "80.00 ± 0.00",
            f"85.00 ± {T_95 * 5:.2f}",
        ],
        "hand": [
            f"0.1500 ± {T_95 * 0.05:.4f}",
            "0.1000 ± 0.0000",
            "100.00 ± 0.00",
            f"75.00 ± {T_95 * 25:.2f}",
        ],
        # (12.5 - 50) / 2, then both equal
        "Δm ↑ (%)": ["", "", "", f"-9.38 ± {T_95 * 9.375:.2f}"],
    }
    assert "seeds 0–1" in shown.data


@pytest.mark.parametrize(
    "found",
    [
        [],
        [network(["count", "hand"], 0, count=([0.3, 0.1], [0.9] * 2), hand=([0.2, 0], [0.5] * 2))],
        [
            network(["count"], 0, count=([0.1, None], [0.1, None])),
            network(["hand"], 0, hand=([0.2, 0], [0.5] * 2)),
            network(["count", "hand"], 0, count=([0.3, 0.1], [0.9] * 2), hand=([0.2, 0], [0.5] * 2)),
        ],
    ],
)
def test_no_delta_without_a_pair_of_runs(found):
    _, rows = table(task_by_task(found))
    assert rows["Δm ↑ (%)"] == ["", "", "", "–"]
    assert rows["count"][0] == ("–" if len(found) < 3 else "diverged")
    assert not any("nan" in cell for cells in rows.values() for cell in cells)
