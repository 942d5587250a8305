"""The published numbers, and the loader that reads them."""

import ast
from pathlib import Path

import pytest

from mtlutils import claims, papers
from mtlutils.errors import InputError

HUQ = papers.load("huq2022")
FILE = Path(papers.__file__).parent / "huq2022.yml"
MARKED = [table for table in HUQ.tables if table.id != "table1"]  # table 1 has no marks
LEE = papers.load("lee2020")
MULTI_MNIST = LEE.table("table1")
EXTREME = {"pareto_task1", "pareto_task2"}  # its text does not count these rows when it says which is best


def test_every_paper_loads_under_its_name():
    assert {"huq2022", "lee2020"} <= set(papers.names())
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
    ],
)
def test_every_cell_is_there(paper, table, rows, columns):
    table = papers.load(paper).table(table)
    assert [row.id for row in table.rows] == rows
    assert [column.id for column in table.columns] == columns
    for row in rows:
        for column in columns:
            assert isinstance(table.value(row, column), float)
            assert float(table.printed(row, column)) == table.value(row, column)


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
    ],
)
def test_numbers_are_those_of_the_paper(paper, table, column, printed):
    table = papers.load(paper).table(table)
    assert [table.printed(row.id, column) for row in table.rows] == printed.split()


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


@pytest.mark.parametrize("table", [table for paper in (HUQ, LEE) for table in paper.tables], ids=lambda t: t.caption)
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


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        ("huq2022", "single_task equal uncertainty revised_uncertainty dwa adaptive"),
        (
            "lee2020",
            "equal uncertainty gradnorm split_only single_step(alpha=0.001) "
            "pareto_mtl pareto_mtl(preference=0) pareto_mtl(preference=1)",
        ),
    ],
)
def test_methods_are_named_as_in_the_code(paper, expected):
    from mtlutils import balancing

    methods = {row.method for table in papers.load(paper).tables for row in table.rows}
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
        for each in claims.comparisons(MULTI_MNIST, claim)
    }
    for row in MULTI_MNIST.rows:
        for column in row.bold:
            others = {each.id for each in MULTI_MNIST.rows} - EXTREME - {row.id}
            assert {(row.id, other, column) for other in others} <= claimed


def test_claims_of_lee_that_its_own_table_contradicts():
    broken = {
        (claim.id, each.row, each.other, each.column)
        for claim in LEE.claims_on("table1")
        for each in claims.comparisons(MULTI_MNIST, claim)
        if not each.holds_in_paper
    }
    assert broken == {("table1-pareto-first", "gradnorm", "pareto_task2", "both-1")}


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
