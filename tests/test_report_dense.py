"""Records of dense prediction, stand-ins among them -> tables of our own numbers."""

import pytest
import yaml
from made_up import a_record
from shared import without_details

from mtlutils import folders, papers, records, report, reproduction
from mtlutils.reproduction import Measured

LEE = papers.load("lee2020")
STREETS = LEE.table("table2")
DELTA = 4  # number of the last column
T_95 = 12.706204736  # 97.5 % quantile of Student's t with one degree of freedom


def trained(method, seed, values, kind="stand-in", name="streets", **parameters):
    """A record with values of Table 2's metrics, in our records' units: mIoU, pixel accuracy, both errors."""
    keys = [STREETS.metric_key(column.id) for column in STREETS.columns]
    metrics = {key: value for key, value in zip(keys, values, strict=True) if value is not ...}
    return a_record(
        experiment="single_step_dense",
        method=method,
        seed=seed,
        parameters={"dataset": "cityscapes", "architecture": "segnet", "data": kind} | parameters,
        data=a_record().data.model_dump() | {"kind": kind, "name": name, "description": f"{name}: 3 images"},
        status="completed" if None not in values else "diverged",
        metrics=metrics,
    )


def single_task(seed, values):
    """Two records, one a task."""
    tasks = ("segmentation", [*values[:2], ..., ...]), ("depth", [..., ..., *values[2:]])
    return [trained("single_task", seed, own, tasks=[task]) for task, own in tasks]


FOUND = [
    *single_task(0, [0.5, 0.8, 0.1, 1.0]),
    *single_task(1, [0.25, 0.5, 0.2, 2.0]),
    trained("equal", 0, [0.55, 0.8, 0.09, 1.1]),
    trained("equal", 1, [0.3, 0.5, 0.1, 2.0]),
    trained("uncertainty", 0, [0.4, 0.9, 0.2, 1.2]),
    trained("uncertainty", 1, [None] * 4),
    trained("dwa", 0, [None] * 4),
    trained("equal", 0, [0.9, 0.9, 0.0, 0.0], dataset="nyuv2"),
]


def measured(found, label=lambda record: record.method, heading="Here"):
    return report.measured(STREETS, {heading: found}, "Our numbers.", label)


def rows_of(shown):
    """Row label -> texts of its cells, and their classes."""
    rows = without_details(shown).tbody.find_all("tr")
    return {
        row.th.text: [(cell.text, {"best", "second-best"} & set(cell["class"])) for cell in row.find_all("td")]
        for row in rows
    }


def test_columns_are_those_of_the_published_table_and_the_relative_improvement():
    tasks, metrics = without_details(measured(FOUND)).thead.find_all("tr")
    names = [cell.text for cell in tasks.find_all(["th", "td"], class_="col_heading")]
    assert names == ["Semantic segmentation", "Depth estimation", ""]
    assert [cell.text for cell in metrics.find_all("th", class_="col_heading")] == [
        "mIoU ↑ (%)",
        "Pixel accuracy ↑ (%)",
        "Absolute error ↓",
        "Relative error ↓",
        "Δm ↑ (%)",
    ]


def test_cells_are_means_over_seeds_in_the_units_of_the_columns():
    rows = rows_of(measured(FOUND))
    assert list(rows) == ["single_task", "equal", "uncertainty", "dwa"]
    assert rows["single_task"][0] == (f"37.50 ± {T_95 * 12.5:.2f}", set())
    assert rows["equal"][:4] == [
        (f"42.50 ± {T_95 * 12.5:.2f}", {"best"}),  # the record of other data stays out
        (f"65.00 ± {T_95 * 15:.2f}", set()),  # as good as the row above it
        (f"0.0950 ± {T_95 * 0.005:.4f}", {"best"}),
        (f"1.55 ± {T_95 * 0.45:.2f}", set()),
    ]
    assert rows["uncertainty"][1] == ("90.00 (1 of 2 diverged)", {"best"})
    assert rows["dwa"] == [("diverged", set())] * 5


def test_relative_improvement_counts_each_task_the_same_and_is_paired_over_seeds():
    rows = rows_of(measured(FOUND))
    # equal: segmentation +10 % and 0, depth +10 % and -10 %; then +20 % and 0, +50 % and 0
    first, second = (5 + 0) / 2, (10 + 25) / 2
    mean, half = (first + second) / 2, T_95 * abs(second - first) / 2
    assert rows["equal"][DELTA] == (f"{mean:.1f} ± {half:.1f}", set())  # of two methods, none is marked
    # segmentation -20 % and +12.5 %, depth -100 % and -20 %
    assert rows["uncertainty"][DELTA][0] == f"{(-3.75 - 60) / 2:.1f} (1 of 2 diverged)"
    assert rows["single_task"][DELTA] == ("–", set())


def test_a_task_with_more_metrics_weighs_no_more():
    rooms = LEE.table("table3")
    keys = {column.id: rooms.metric_key(column.id) for column in rooms.columns}

    def of(method, factor, tasks=("segmentation", "depth", "normal")):
        # `factor` changes the normals alone, and all of their five metrics
        metrics = {
            key: factor if "normal" in key and column.startswith("within") else 1 / factor if "normal" in key else 1.0
            for column, key in keys.items()
            if key.rsplit("/", 1)[1] in tasks
        }
        return a_record(method=method, parameters={"dataset": "nyuv2", "tasks": list(tasks)}, metrics=metrics)

    found = [*(of("single_task", 1.0, (task,)) for task in ("segmentation", "depth", "normal")), of("equal", 2.0)]
    shown = report.measured(rooms, {"Here": found}, "Our numbers.", lambda record: record.method)
    # of the normals, two errors fall by 50 % and three shares rise by 100 %
    assert rows_of(shown)["equal"][-1][0] == f"{(0.5 * 2 + 1 * 3) / 5 / 3 * 100:.1f}"


def test_without_single_task_models_there_is_no_relative_improvement():
    shown = measured([record for record in FOUND if record.method != "single_task"])
    assert {len(cells) for cells in rows_of(shown).values()} == {4}
    assert "Δm" not in shown.data


def test_relative_improvement_needs_every_metric_of_a_seed():
    half = single_task(0, [0.5, 0.8, 0.1, 1.0])[:1]
    rows = rows_of(measured([*half, trained("equal", 0, [0.5, 0.8, 0.1, 1.0]), trained("dwa", 1, [0.5] * 4)]))
    assert rows["single_task"][2] == ("–", set())
    assert rows["equal"][DELTA][0] == "–"
    assert rows["dwa"][DELTA][0] == "–"


def test_best_and_second_best_are_marked_among_three_and_more():
    three = [trained(method, 0, [value] * 4) for method, value in (("equal", 0.2), ("dwa", 0.3), ("rlw", 0.1))]
    marks = {row: [cell[1] for cell in cells] for row, cells in rows_of(measured(three)).items()}
    assert marks == {
        "equal": [{"second-best"}] * 4,
        "dwa": [{"best"}, {"best"}, set(), set()],
        "rlw": [set(), set(), {"best"}, {"best"}],
    }
    assert not any(cell[1] for cells in rows_of(measured(three[:2])).values() for cell in cells)


@pytest.mark.parametrize(("kind", "name"), [("stand-in", "streets"), ("real", "CityScapes")])
def test_a_stand_in_says_so_on_its_face(kind, name):
    shown = measured([trained("equal", 0, [0.5] * 4, kind=kind, name=name)])
    says = "On a stand-in (streets), not on the paper's data: these numbers cannot be compared with the published"
    assert (says in without_details(shown).caption.text) == (kind == "stand-in")
    for printed in STREETS.rows[0].printed:
        assert printed not in without_details(shown).text
    provenance, _ = without_details(shown).find_all(class_="provenance")
    assert provenance.text.startswith(f"Here: {name}: 3 images · seed 0 · ")
    assert "Here: " in without_details(shown).details.text


def test_a_label_of_none_leaves_a_record_out_of_rows_notes_and_settings():
    found = [trained("equal", 0, [0.5] * 4, width=16), trained("dwa", 5, [0.5] * 4, width=64)]
    shown = measured(found, lambda record: "plain" if record.method == "equal" else None)
    assert list(rows_of(shown)) == ["plain"]
    page = without_details(shown)
    assert "seed 0 ·" in page.find(class_="provenance").text
    assert "width 16" in page.details.text


def test_every_group_has_a_table_with_ids_of_its_own():
    shown = report.measured(STREETS, {"Here": FOUND, "There": FOUND[:2]}, "Our numbers.", lambda record: record.method)
    captions = [caption.text for caption in without_details(shown).find_all("caption")]
    assert [text.split("  ")[0].split(". ")[1] for text in captions] == ["Here", "There"]
    ids = [cell["id"] for cell in without_details(shown).find_all(id=True)]
    assert len(set(ids)) == len(ids)


# Committed records on a stand-in


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two records of the profile cpu, one of them on a stand-in."""
    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    asked = {"methods": ["equal"], "seeds": [0, 1], "dataset": ["nyuv2", "cityscapes"], "image_size": [64, 96]}
    for name, data in (("cpu", "stand-in"), ("paper", "real")):
        path = tmp_path / "profiles" / name / "single_step_dense.yml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(asked | {"data": data}))
    records.write(trained("equal", 0, [0.5] * 4, image_size=[64, 96]), tmp_path / "results")
    records.write(trained("equal", 0, [0.5] * 4, image_size=[32, 64]), tmp_path / "results")
    reproduction._committed.cache_clear()
    yield tmp_path
    reproduction._committed.cache_clear()


MINE = [trained("equal", 7, [0.25] * 4, image_size=[32, 32])]


def test_committed_records_on_a_stand_in_are_shown_where_asked_for(project):
    shown = reproduction.side_by_side("single_step_dense", MINE, "smoke", stand_in=True)
    assert {heading: [record.parameters["image_size"] for record in found] for heading, found in shown.items()} == {
        "Committed (stand-in: streets, profile cpu)": [[64, 96]],
        "This run (stand-in: streets, profile smoke)": [[32, 32]],
    }
    assert list(reproduction.side_by_side("single_step_dense", MINE, "smoke")) == [
        "This run (stand-in: streets, profile smoke)"
    ]


def test_records_on_the_papers_data_come_first(project):
    ours = trained("equal", 1, [0.5] * 4, kind="real", name="CityScapes", image_size=[64, 96])
    records.write(ours, project / "results")
    reproduction._committed.cache_clear()
    shown = reproduction.side_by_side("single_step_dense", MINE, "smoke", stand_in=True)
    assert next(iter(shown)) == "Reproduced (CityScapes, profile paper)"
    assert next(iter(shown.values())) == [ours]


def test_comparison_without_this_run_has_no_column_of_it_and_names_what_would_fill_the_table(project):
    page = without_details(report.comparison(LEE, "table2", Measured(), "smoke"))
    sources = {cell.text for cell in page.thead.find_all("th", class_="level1")}
    assert sources >= {"published", "reproduced"}
    assert "this run" not in sources
    note, *others = [note.text for note in page.find_all("p", class_="provenance")]
    assert note.startswith("No runs on these data yet: make book PROFILE=paper trains")
    assert "CityScapes as the authors of MTAN" in note
    assert not [note for note in others if "This run" in note]
