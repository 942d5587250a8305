"""The published numbers, and the loader that reads them."""

import ast
import math
from pathlib import Path

import pytest
import yaml

from mtlutils import comparisons, papers
from mtlutils.errors import InputError

HUQ = papers.load("huq2022")
FILE = Path(papers.__file__).parent / "huq2022.yml"
MARKED = [table for table in HUQ.tables if table.id != "table1"]  # table 1 has no marks
LEE = papers.load("lee2020")
MULTI_MNIST = LEE.table("table1")
STREETS, ROOMS = LEE.table("table2"), LEE.table("table3")
LIU = papers.load("liu2022")
FIGURE, NYUV2 = LIU.table("figure3"), LIU.table("table1")
ALL_TABLES = [table for paper in papers.every() for table in paper.tables]
DENSE = ["ordinary", "uncertainty", "gradnorm", "mtan", "split_only", "proposed"]
MEASURES = ["miou", "pixel", "absolute", "relative", "mean", "median", "within-11.25", "within-22.5", "within-30"]
EXTREME = {"pareto_task1", "pareto_task2"}  # its text does not count these rows when it says which is best


def test_every_paper_loads_under_its_name():
    assert {"huq2022", "lee2020", "liu2022"} <= set(papers.names())
    for name in papers.names():
        assert papers.load(name).key == name


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"unknown paper 'huq'; known: .*huq2022"):
        papers.load("huq")


def test_package_only_reexports():
    body = ast.parse(Path(papers.__file__).read_text()).body
    assert all(isinstance(node, ast.Expr | ast.ImportFrom | ast.Assign) for node in body)
    assert not [name for name in papers.__all__ if not hasattr(papers, name)]


def test_bibliography():
    assert HUQ.title == "Adaptive weight assignment scheme for multi-task learning"
    assert HUQ.authors == ("Aminul Huq", "Mst. Tasnim Pervin")
    assert (HUQ.year, HUQ.doi) == (2022, "10.11591/ijai.v11.i1.pp173-178")
    assert LEE.title == "Multitask learning with single gradient step update for task balancing"
    assert LEE.authors == ("Sungjae Lee", "Youngdoo Son")
    assert (LEE.year, LEE.doi) == (2020, None)
    assert LIU.title == "A Closer Look at the Multi-Task Learning Neural Networks"
    assert (LIU.authors, LIU.year, LIU.doi) == (("Raphael Liu",), 2022, None)


@pytest.mark.parametrize("name", papers.names())
def test_every_paper_is_in_the_bibliography(name):
    references = (Path(__file__).parents[1] / "book" / "references.bib").read_text()
    assert references.count(f"{{{papers.load(name).bibtex},") == 1


@pytest.mark.parametrize(
    ("paper", "table", "rows", "columns"),
    [
        ("huq2022", "table1", ["re_uncertainty", "dwa", "ours"], ["CIFAR-100", "AGNews"]),
        (
            "huq2022",
            "table2",
            ["stl", "vanilla", "uncertainty", "dwa", "ours"],
            ["2-class", "3-class", "4-class", "5-class", "100-class"],
        ),
        ("huq2022", "table3", ["stl", "vanilla", "uncertainty", "dwa", "ours"], ["2-class", "4-class"]),
        (
            "lee2020",
            "table1",
            [
                *("ordinary", "uncertainty", "gradnorm", "pareto_equal", "split_only", "proposed"),
                *("pareto_task1", "pareto_task2"),
            ],
            ["mnist-1", "mnist-2", "fashion-1", "fashion-2", "both-1", "both-2"],
        ),
        ("lee2020", "table2", DENSE, MEASURES[:4]),
        ("lee2020", "table3", DENSE, MEASURES),
        ("liu2022", "figure3", ["single", "multi"], ["loss", "accuracy", "epochs", "final"]),
        ("liu2022", "table1", ["pspnet", "cmx", "tokenfusion", "mtan", "ours"], MEASURES),
    ],
)
def test_every_cell_is_there(paper, table, rows, columns):
    table = papers.load(paper).table(table)
    assert [row.id for row in table.rows] == rows
    assert [column.id for column in table.columns] == columns
    for row in rows:
        for column in columns:
            printed = table.printed(row, column)
            assert table.value(row, column) == pytest.approx(float(printed or "nan"), rel=0, nan_ok=True)


# A second reading of each paper, column by column, where the file has the numbers row by row.
@pytest.mark.parametrize(
    ("paper", "table", "column", "printed"),
    [
        ("huq2022", "table1", "CIFAR-100", "0.001 0.0004 0.0006"),
        ("huq2022", "table1", "AGNews", "0.0004 0.0002 0.0003"),
        ("huq2022", "table2", "2-class", "74.52 79.97 69.47 80.33 81.68"),
        ("huq2022", "table2", "3-class", "75.70 74.36 59.52 74.57 77.01"),
        ("huq2022", "table2", "4-class", "74.02 70.97 55.42 71.37 74.41"),
        ("huq2022", "table2", "5-class", "72.81 67.95 50.21 68.41 72.07"),
        ("huq2022", "table2", "100-class", "76.56 60.23 34.91 60.40 66.81"),
        ("huq2022", "table3", "2-class", "84.00 86.57 84.56 85.86 86.02"),
        ("huq2022", "table3", "4-class", "79.13 80.11 75.94 79.77 81.18"),
        ("lee2020", "table1", "mnist-1", "91.63 91.79 89.65 91.76 91.52 92.30 91.79 90.83"),
        ("lee2020", "table1", "mnist-2", "89.67 89.08 86.79 89.49 89.52 90.38 88.28 89.77"),
        ("lee2020", "table1", "fashion-1", "81.97 81.78 80.82 82.12 81.88 82.41 82.15 80.75"),
        ("lee2020", "table1", "fashion-2", "81.25 81.21 77.88 81.35 81.36 81.78 79.81 81.89"),
        ("lee2020", "table1", "both-1", "93.52 94.14 85.34 92.68 93.01 93.56 93.75 89.52"),
        ("lee2020", "table1", "both-2", "83.84 81.08 81.27 84.24 83.67 84.28 82.84 85.03"),
        ("lee2020", "table2", "miou", "52.47 49.62 46.62 53.04 54.09 53.80"),
        ("lee2020", "table2", "pixel", "90.59 90.13 87.71 91.11 91.18 90.96"),
        ("lee2020", "table2", "absolute", "0.0147 0.0146 0.0185 0.0144 0.0141 0.0140"),
        ("lee2020", "table2", "relative", "24.62 24.22 32.77 33.63 23.94 22.99"),
        ("lee2020", "table3", "miou", "17.44 16.92 12.93 17.72 17.29 19.49"),
        ("lee2020", "table3", "pixel", "54.92 54.78 42.53 55.32 51.70 55.95"),
        ("lee2020", "table3", "absolute", "0.6059 0.6099 0.8048 0.5906 0.6478 0.6028"),
        ("lee2020", "table3", "relative", "0.2573 0.2630 0.3490 0.2577 0.2767 0.2514"),
        ("lee2020", "table3", "mean", "31.39 31.26 37.85 31.44 31.98 30.83"),
        ("lee2020", "table3", "median", "25.36 25.34 35.85 25.37 26.49 25.12"),
        ("lee2020", "table3", "within-11.25", "23.42 23.25 10.73 23.17 22.33 23.70"),
        ("lee2020", "table3", "within-22.5", "45.61 45.59 29.14 45.65 43.79 45.90"),
        ("lee2020", "table3", "within-30", "57.22 37.35 41.16 57.48 55.52 57.72"),
        ("liu2022", "table1", "miou", "52.5 56.9 54.2 53.3 54.7"),
        ("liu2022", "table1", "pixel", "77.7 80.1 79.0 75.4 75.6"),
        ("liu2022", "table1", "absolute", "- - - 0.3834 0.3800"),
        ("liu2022", "table1", "relative", "- - - 0.1556 0.1574"),
        ("liu2022", "table1", "mean", "- - - 23.58 22.47"),
        ("liu2022", "table1", "median", "- - - 17.12 15.66"),
        ("liu2022", "table1", "within-11.25", "- - - 35.18 37.86"),
        ("liu2022", "table1", "within-22.5", "- - - 60.88 63.95"),
        ("liu2022", "table1", "within-30", "- - - 71.91 74.01"),
        *(("liu2022", "figure3", column, "- -") for column in ("loss", "accuracy", "epochs", "final")),
    ],
)
def test_numbers_are_those_of_the_paper(paper, table, column, printed):
    table = papers.load(paper).table(table)
    assert [table.printed(row.id, column) or "-" for row in table.rows] == printed.split()


def test_numbers_that_stand_twice_are_the_same():
    splitting = LEE.table("splitting")
    assert splitting.columns == MULTI_MNIST.columns
    for row in splitting.rows:
        assert row.printed == MULTI_MNIST.row(row.id).printed


def test_only_a_figure_a_review_or_an_abstract_prints_no_number():
    silent = [paper.key for paper in papers.every() for table in paper.tables if not table.prints_numbers]
    abstracts = ["ciubotariu2022", *["crawshaw2021"] * 2, "gong2019", *["kurin2022"] * 2, "suteu2019"]
    assert silent == ["lee2020", "liu2022", "vafaeikia2020", "vafaeikia2020", *abstracts]
    assert [paper.key for paper in papers.every() if paper.abstract_only and paper.tables] == sorted(set(abstracts))


def test_papers_with_a_text_come_first_and_each_says_something():
    every = papers.every()
    assert sorted(paper.key for paper in every) == papers.names()
    assert [paper.key for paper in every if not paper.abstract_only] == [
        "huq2022",
        "lee2020",
        "liu2022",
        "vafaeikia2020",
    ]
    assert [paper.abstract_only for paper in every] == sorted(paper.abstract_only for paper in every)
    assert all(paper.claims or paper.untested for paper in every)


@pytest.mark.parametrize(
    ("row", "columns", "printed"),
    [
        (
            "proposed",
            ["mnist-1", "mnist-2", "fashion-1", "fashion-2", "both-1", "both-2"],
            "92.30 90.38 82.41 81.78 93.56 84.28",
        ),
        ("uncertainty", ["both-1", "both-2"], "94.14 81.08"),
        ("pareto_task2", ["fashion-2", "both-2", "fashion-1", "both-1"], "81.89 85.03 80.75 89.52"),
    ],
)
def test_numbers_in_the_text_of_lee_are_those_in_its_table(row, columns, printed):
    assert [MULTI_MNIST.printed(row, column) for column in columns] == printed.split()


def test_bold_marks_are_those_of_the_paper():
    bold = {(table.id, row.id): row.bold for table in HUQ.tables for row in table.rows if row.bold}
    assert bold == {
        ("table2", "stl"): ("5-class", "100-class"),
        ("table2", "ours"): ("2-class", "3-class", "4-class"),
        ("table3", "vanilla"): ("2-class",),
        ("table3", "ours"): ("4-class",),
    }


@pytest.mark.parametrize("table", MARKED, ids=lambda table: table.id)
def test_marks_follow_from_the_values(table):
    for column in table.columns:
        best, second, *_ = table.ranking(column.id)
        assert [row.id for row in table.rows if column.id in row.bold] == [best]
        assert [row.id for row in table.rows if column.id in row.second] == [second]


def test_marks_of_lee_follow_from_the_values_without_the_extreme_preferences():
    for column in MULTI_MNIST.columns:
        best = next(row for row in MULTI_MNIST.ranking(column.id) if row not in EXTREME)
        assert [row.id for row in MULTI_MNIST.rows if column.id in row.bold] == [best]
    assert not any(row.second for row in MULTI_MNIST.rows)


@pytest.mark.parametrize("table", [STREETS, ROOMS], ids=lambda table: table.id)
def test_marks_of_lee_follow_from_the_values_of_dense_tasks(table):
    for column in table.columns:
        assert [row.id for row in table.rows if column.id in row.bold] == table.ranking(column.id)[:1]
    assert not any(row.second for row in table.rows)


def test_ranking_follows_the_direction_of_the_column():
    assert STREETS.ranking("miou") == ["split_only", "proposed", "mtan", "ordinary", "uncertainty", "gradnorm"]
    assert STREETS.ranking("absolute") == ["proposed", "split_only", "mtan", "uncertainty", "ordinary", "gradnorm"]
    # of rows that have a number
    assert NYUV2.ranking("relative") == ["mtan", "ours"]
    assert NYUV2.ranking("miou") == ["cmx", "ours", "tokenfusion", "mtan", "pspnet"]
    assert FIGURE.ranking("loss") == []


def test_ranking_follows_the_direction():
    assert HUQ.table("table1").ranking("AGNews") == ["dwa", "ours", "re_uncertainty"]
    assert HUQ.table("table3").ranking("4-class") == ["ours", "vanilla", "dwa", "stl", "uncertainty"]


def test_columns_select_our_records():
    table1, table2, table3 = HUQ.tables
    assert table3.metric_key("4-class") == "test/accuracy/4-class"
    assert table2.metric_key("100-class") == "test/accuracy/100-class"
    assert table1.metric_key("AGNews") == "seconds/median"
    assert (table1.scale, table2.scale, table3.scale) == (1, 100, 100)
    assert table3.notebook == "notebooks/adaptive_agnews.ipynb"
    assert table1.column("CIFAR-100").selects({"n_tasks": 5, "calls": 50})
    assert not table1.column("AGNews").selects({"n_tasks": 5})
    assert not table1.column("AGNews").selects({})
    assert table3.column("2-class").selects({"anything": 1})


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda t: t.caption)
def test_labels_tell_rows_and_columns_apart(table):
    for labels in ([row.label for row in table.rows], [column.label for column in table.columns]):
        assert len(set(labels)) == len(labels)


def test_columns_of_lee_select_our_records_by_data_set_and_task():
    pairs = {(column.parameters["dataset"], MULTI_MNIST.metric_key(column.id)) for column in MULTI_MNIST.columns}
    tasks = ("test/accuracy/top-left", "test/accuracy/bottom-right")
    assert pairs == {(name, task) for name in ("mnist", "fashion", "fashion_and_mnist") for task in tasks}
    selected = [c.id for c in MULTI_MNIST.columns if c.selects({"dataset": "fashion_and_mnist", "epochs": 1})]
    assert selected == ["both-1", "both-2"]
    assert MULTI_MNIST.metric_key("fashion-1") == "test/accuracy/top-left"
    assert (MULTI_MNIST.scale, MULTI_MNIST.notebook) == (100, "notebooks/single_step_multimnist.ipynb")


@pytest.mark.parametrize("table", [STREETS, ROOMS, NYUV2], ids=lambda table: table.caption)
def test_measures_of_dense_tasks(table):
    of = {column.id: column for column in table.columns}
    keys = [
        *("miou/segmentation", "pixel_accuracy/segmentation", "absolute_error/depth", "relative_error/depth"),
        *("mean_angle/normal", "median_angle/normal"),
        *("within_11.25/normal", "within_22.5/normal", "within_30/normal"),
    ]
    assert [table.metric_key(column) for column in of] == [f"test/{key}" for key in keys[: len(of)]]
    higher = {"miou", "pixel", "within-11.25", "within-22.5", "within-30"} & of.keys()
    assert {column for column in of if of[column].direction == "higher"} == higher
    for column in of:
        assert of[column].in_unit(0.5) == (50 if column in higher else 0.5)
        assert of[column].in_unit(None) is None
        assert of[column].compare == "difference"
    angles = {"mean": "°", "median": "°"}
    units = dict.fromkeys(higher, "%") | {"absolute": "" if table is STREETS else "m", "relative": ""} | angles
    assert {column: of[column].unit for column in of} == {column: units[column] for column in of}


@pytest.mark.parametrize(("table", "name"), [(STREETS, "cityscapes"), (ROOMS, "nyuv2")])
def test_columns_of_lee_select_the_data_set(table, name):
    assert table.experiment == "single_step_dense"
    for column in table.columns:
        assert [n for n in ("cityscapes", "nyuv2") if column.selects({"dataset": n, "epochs": 1})] == [name]


def test_rows_are_found_by_method_and_parameters():
    plain, attentive = ({"architecture": network, "epochs": 9} for network in ("segnet", "segnet_mtan"))
    for table in (STREETS, ROOMS):
        assert [table.row_of("equal", each) for each in (plain, attentive)] == ["ordinary", "mtan"]
        assert table.row_of("single_step(alpha=0.0001)", plain) == "proposed"
        # another network is no row of the paper's, and neither is one that a record does not name
        assert table.row_of("gradnorm", attentive) == "gradnorm, architecture segnet_mtan"
        assert table.row_of("equal", {"architecture": "other"}) == "equal, architecture other"
        assert table.row_of("equal", {}) == "equal"
    assert FIGURE.row_of("single_task", {"tasks": ["joint"]}) == "single"
    assert FIGURE.row_of("equal", {"tasks": ["count", "hand"]}) == "multi"
    assert FIGURE.row_of("equal", {"tasks": ["joint"]}) == "equal, tasks joint"
    assert FIGURE.row_of("dwa", {"tasks": ["count", "hand"]}) == "dwa, tasks count/hand"
    assert NYUV2.row_of("rlw", {"architecture": "dilated_resnet_mtan"}) == "ours"
    assert NYUV2.row_of("rlw", {"architecture": "segnet_mtan"}) == "rlw, architecture segnet_mtan"
    assert HUQ.table("table3").row_of("equal", {"tasks": ["2-class"]}) == "vanilla"
    assert HUQ.table("table3").row_of("other", {"architecture": "segnet"}) == "other"


def test_rows_of_other_publications_have_no_method():
    assert [row.id for row in NYUV2.rows if row.method is None] == ["pspnet", "cmx", "tokenfusion"]
    assert all(row.method for paper in (HUQ, LEE) for table in paper.tables for row in table.rows)
    assert all(row.method for row in FIGURE.rows)


def test_columns_of_the_figure():
    of = {column.id: column for column in FIGURE.columns}
    keys = ["mean_loss", "mean_accuracy", "epochs_to_99", "accuracy"]
    assert [FIGURE.metric_key(column) for column in of] == [f"test/{key}/pair" for key in keys]
    assert [column.direction for column in of.values()] == ["lower", "higher", "lower", "higher"]
    assert [column.in_unit(1) for column in of.values()] == [1, 100, 1, 100]
    used = {each.column for claim in LIU.claims_on("figure3") for each in comparisons.comparisons(FIGURE, claim)}
    assert used == {"loss", "accuracy", "final"}


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda t: t.caption)
def test_settings_that_tell_rows_apart_are_those_of_the_experiment(table):
    from mtlutils import experiments

    if table.experiment not in experiments.names():
        pytest.skip(f"{table.experiment} is not there yet")
    experiment = experiments.load(table.experiment)
    fields = experiment.settings.model_fields
    for column in table.columns:
        assert column.parameters.keys() <= fields.keys()
        experiment.settings(**column.parameters)
    for row in table.rows:
        assert row.parameters.keys() <= fields.keys()
        assert not row.study or row.study in experiment.studies
        for column in table.columns:
            experiment.settings(**column.parameters | row.parameters)


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        ("huq2022", "single_task equal uncertainty revised_uncertainty dwa adaptive"),
        (
            "lee2020",
            "single_task equal uncertainty gradnorm split_only single_step(alpha=0.001) "
            "single_step(alpha=0.0001) pareto_mtl pareto_mtl(preference=0) pareto_mtl(preference=1)",
        ),
        ("liu2022", "single_task equal rlw"),
    ],
)
def test_methods_are_named_as_in_the_code(paper, expected):
    from mtlutils import balancing

    methods = {row.method for table in papers.load(paper).tables for row in table.rows} - {None}
    assert methods == set(expected.split())
    for method in methods - {"single_task"}:
        balancing.create(method, n_tasks=2)
        assert balancing.label(*balancing.parse(method)) == method  # as records have it


def test_extreme_preferences_of_lee_let_their_own_loss_be_the_smaller():
    from mtlutils import balancing

    # Pareto MTL's vectors are in loss space.
    assert balancing.create(MULTI_MNIST.row("pareto_task1").method, 2).preference == pytest.approx([0, 1])
    assert balancing.create(MULTI_MNIST.row("pareto_task2").method, 2).preference == pytest.approx([1, 0])
    equal = balancing.create(MULTI_MNIST.row("pareto_equal").method, 2).preference
    assert equal[0] == pytest.approx(equal[1])


def test_unknown_table():
    with pytest.raises(InputError, match="no table 'table9'; it has table1, table2, table3"):
        HUQ.table("table9")


def test_claims_cover_every_table_and_bold_mark():
    assert all(HUQ.claims_on(table.id) for table in HUQ.tables)
    for table in MARKED:
        best = {
            (part.row, column)
            for claim in HUQ.claims_on(table.id)
            for part in claim.parts
            if isinstance(part, papers.Best)
            for column in part.columns
        }
        assert best == {(row.id, column) for row in table.rows for column in row.bold}


def test_claims_of_lee_cover_its_bold_marks():
    claimed = {
        (each.row, each.other, each.column)
        for claim in LEE.claims_on("table1")
        for each in comparisons.comparisons(MULTI_MNIST, claim)
    }
    for row in MULTI_MNIST.rows:
        for column in row.bold:
            others = {each.id for each in MULTI_MNIST.rows} - EXTREME - {row.id}
            assert {(row.id, other, column) for other in others} <= claimed


def broken(paper):
    """Claim, and better row, worse row and column of each comparison that the paper's own table contradicts."""
    return {
        (claim.id, each.row, each.other, each.column)
        for claim in paper.claims
        for each in comparisons.comparisons(paper.table(claim.table), claim)
        if each.holds_in_paper is False
    }


def test_claims_of_lee_that_its_own_tables_contradict():
    assert broken(LEE) == {
        ("table1-pareto-first", "gradnorm", "pareto_task2", "both-1"),
        *(
            ("splitting-helps", "split_only", "ordinary", column)
            for column in ("mnist-1", "mnist-2", "fashion-1", "both-1", "both-2")
        ),
    }


def test_claims_of_liu_that_its_own_table_contradicts():
    assert broken(LIU) == {("table1-random-weights", "ours", "mtan", "relative")}


def test_claims_on_a_figure_have_nothing_published():
    found = [each for claim in LIU.claims_on("figure3") for each in comparisons.comparisons(FIGURE, claim)]
    assert [each.published for each in found] == [None] * 3
    assert [each.holds_in_paper for each in found] == [None] * 3


def test_claims_of_lee_and_liu_cover_every_measure_of_dense_tasks():
    for paper, table in ((LEE, STREETS), (LEE, ROOMS), (LIU, NYUV2)):
        asked = {each.column for claim in paper.claims_on(table.id) for each in comparisons.comparisons(table, claim)}
        assert asked == {column.id for column in table.columns}
    best = [(row.id, column) for table in (STREETS, ROOMS) for row in table.rows for column in row.bold]
    assert len(best) == 4 + 9  # each is claimed by the text
    for table in (STREETS, ROOMS):
        claimed = {
            (each.row, each.other, each.column)
            for claim in LEE.claims_on(table.id)
            for each in comparisons.comparisons(table, claim)
        }
        others = set(DENSE) - ({"split_only", "proposed"} if table is STREETS else set())
        for row in table.rows:
            assert {(row.id, other, column) for column in row.bold for other in others - {row.id}} <= claimed


def test_inconsistencies_of_huq_are_in_the_tables():
    _, table2, table3 = HUQ.tables
    ahead = {
        (row.id, column.id)
        for row in table2.rows
        for column in table2.columns
        if row.id != "stl" and table2.value(row.id, column.id) > table2.value("stl", column.id)
    }
    two = {("vanilla", "2-class"), ("dwa", "2-class"), ("ours", "2-class")}
    assert ahead == two | {("ours", "3-class"), ("ours", "4-class")}
    coarse = [table2.value("stl", column) for column in ("2-class", "3-class", "4-class", "5-class")]
    assert max(coarse) < table2.value("stl", "100-class")
    assert table3.value("uncertainty", "4-class") < table3.value("stl", "4-class")
    assert table3.value("vanilla", "2-class") > table3.value("ours", "2-class")
    assert 0 < table3.value("ours", "2-class") - table3.value("dwa", "2-class") < 1
    assert 0.0005 < HUQ.table("table1").value("ours", "CIFAR-100") < 0.0015  # what rounds to the 0.001 beside it


def test_inconsistencies_of_lee_are_in_the_table():
    value, rows, columns = (
        MULTI_MNIST.value,
        *([each.id for each in s] for s in (MULTI_MNIST.rows, MULTI_MNIST.columns)),
    )

    def ahead_of(other):
        return {(row, column) for row in rows for column in columns if value(row, column) > value(other, column)}

    # Best in every task but one
    extreme = {(row, column) for row, column in ahead_of("proposed") if row in EXTREME}
    assert extreme == {("pareto_task2", "fashion-2"), ("pareto_task1", "both-1"), ("pareto_task2", "both-2")}
    assert ahead_of("proposed") - extreme == {("uncertainty", "both-1")}
    # Pareto MTL behind all others in the first task
    behind = {
        (row, column)
        for row in rows
        for column in ("fashion-1", "both-1")
        if value(row, column) < value("pareto_task2", column)
    }
    assert behind == {("gradnorm", "both-1")}
    assert value("pareto_task2", "both-1") - value("gradnorm", "both-1") > 2
    assert 0 < value("gradnorm", "fashion-1") - value("pareto_task2", "fashion-1") < 0.1
    # Bias of Pareto MTL to the first task
    for first, second in (("mnist-1", "mnist-2"), ("fashion-1", "fashion-2")):
        assert 0 < value("pareto_task1", first) - value("pareto_equal", first) < 0.1
        assert value("pareto_equal", second) - value("pareto_task1", second) > 1
    # Training the two kinds of layers separately
    assert [column for column in columns if ("split_only", column) in ahead_of("ordinary")] == ["fashion-2"]
    assert value("split_only", "fashion-2") - value("ordinary", "fashion-2") == pytest.approx(0.1, abs=0.05)
    # Equally hard tasks
    assert all(value(row, "mnist-1") - value(row, "mnist-2") > 1 for row in rows)


def test_inconsistencies_of_lee_are_in_its_tables_of_dense_tasks():
    # Uncertainty weighting within 30 degrees
    shares = ["within-11.25", "within-22.5", "within-30"]
    for row in DENSE:
        values = [ROOMS.value(row, column) for column in shares]
        grows = values == sorted(values)
        agrees = [share > 50 for share in values] == [ROOMS.value(row, "median") < t for t in (11.25, 22.5, 30)]
        assert (grows, agrees) == ((False, False) if row == "uncertainty" else (True, True))
    # Best performance on street scenes
    leaders = {column.id: STREETS.ranking(column.id) for column in STREETS.columns}
    assert {ranking[0] for ranking in leaders.values()} == {"split_only", "proposed"}
    assert [column for column, ranking in leaders.items() if set(ranking[:2]) != {"split_only", "proposed"}] == [
        "pixel"
    ]
    assert leaders["pixel"][:3] == ["split_only", "mtan", "proposed"]
    # Poor depth of MTAN
    assert leaders["relative"][-1] == "mtan"
    assert leaders["absolute"][:3] == ["proposed", "split_only", "mtan"]
    # Splitting the update on indoor scenes
    for column in ROOMS.columns:
        ranking = ROOMS.ranking(column.id)
        assert ranking.index("split_only") > ranking.index("ordinary")


def test_inconsistencies_of_liu_are_in_its_table():
    rankings = {column.id: NYUV2.ranking(column.id) for column in NYUV2.columns}
    behind = [column for column, ranking in rankings.items() if ranking.index("ours") > ranking.index("mtan")]
    assert behind == ["relative"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("key: huq2022", "key: [", "not valid YAML"),
        ("key: huq2022", "key: huq2023", "key is 'huq2023'; it must be the file's name"),
        ("year: 2022", "year: soon", "year: "),
        ("year: 2022", "year: 2022\njournal: none", "journal: Extra inputs are not permitted"),
        ('["84.00", "79.13"]', '["84.00"]', r"tables\.2: .*table3, stl: 1 values for 2 columns"),
        ('"84.00"', '"84,00"', "table3, stl: '84,00' is not a number"),
        ('"84.00"', '"nan"', "table3, stl: 'nan' is not a number"),
        ('"0.0006"', '"0"', "table1, ours: a ratio needs positive values"),
        ("bold: [4-class]", "bold: [5-class]", "table3, ours: unknown column '5-class'"),
        ("- id: table3-best", "- id: table3-second", "claim 'table3-second' appears twice"),
        ("others: [dwa], factor: 2", "others: [equal], factor: 2", "claim table1-close: unknown row 'equal'"),
        ("others: [dwa], factor: 2", "others: [ours], factor: 2", "claim table1-close: ours is compared with itself"),
        ("others: [dwa], factor: 2", "others: [dwa], amount: 2", "table1 is compared by ratio, so give `factor` alone"),
        ("row: ours, rank: 2}", "row: ours, rank: 4}", "claim table1-middle: rank 4 of 3 rows"),
        ("kind: within", "kind: nearly", "nearly"),
        ("bold: [2-class]\n        second: [4-class]", "bold: [2-class]\n        second: [9]", "second.0: "),
        ('["86.57", "80.11"]', '[null, "80.11"]', "table3, vanilla: 2-class is marked and empty"),
        ("method: dwa, printed", "method: adaptive, printed", "table1: a record could fill both dwa and ours"),
        ("method: dwa, printed", "method: null, printed", "claim table1-middle: dwa has no method here"),
        ('["0.0004", "0.0002"]', '[null, "0.0002"]', "claim table1-middle: rank 2 of 2 rows, of which each must have"),
        ("parameters: {n_tasks: 5}}", "compare: difference}", "CIFAR-100 of table1 is compared by difference"),
        ("parameters: {n_tasks: 5}}", "direction: up}", r"tables\.0\.columns\.0\.direction"),
        ("parameters: {n_tasks: 5}}", 'metric: "{task}"}', "table1: the metric key needs a task in every column"),
        ("parameters: {n_tasks: 5}}", "scale: 0}", r"tables\.0\.columns\.0\.scale"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path, old, new, message):
    text = FILE.read_text()
    assert old in text
    broken = tmp_path / "huq2022.yml"
    broken.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as error:
        papers.read(broken)
    assert str(broken) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yml: cannot be read"):
        papers.read(tmp_path / "none.yml")


def test_a_column_takes_from_the_table_what_it_does_not_say():
    content = yaml.safe_load(FILE.read_text())["tables"][0]
    content |= {"scale": 3, "parameters": {"a": 1}}
    content["columns"][1] |= {
        **{"unit": "ms", "direction": "higher", "compare": "difference", "metric": "other/{task}", "task": "t"},
        **{"scale": 1000, "digits": 0, "parameters": {"b": 2}},
    }
    del content["columns"][0]["parameters"]
    table = papers.Table.model_validate(content)
    one, other = table.columns
    assert (one.unit, one.direction, one.compare, one.scale, one.digits) == ("s", "lower", "ratio", 3, 2)
    assert (table.metric_key(one.id), one.parameters) == ("seconds/median", {"a": 1})
    assert (other.unit, other.direction, other.compare, other.scale, other.digits) == (
        *("ms", "higher", "difference", 1000, 0),
    )
    assert (table.metric_key(other.id), other.parameters) == ("other/t", {"b": 2})
    assert (one.in_unit(2), other.in_unit(2)) == (6, 2000)
    assert (table.ranking(one.id)[0], table.ranking(other.id)[0]) == ("dwa", "re_uncertainty")


def test_a_cell_without_a_number_has_no_value():
    assert NYUV2.printed("cmx", "absolute") is None
    assert math.isnan(NYUV2.value("cmx", "absolute"))
