"""The published numbers, and the loader that reads them."""

import ast
from pathlib import Path

import pytest

from mtlutils import papers
from mtlutils.errors import InputError

HUQ = papers.load("huq2022")
FILE = Path(papers.__file__).parent / "huq2022.yml"
MARKED = [table for table in HUQ.tables if table.id != "table1"]  # table 1 has no marks


def test_every_paper_loads_under_its_name():
    assert "huq2022" in papers.names()
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


@pytest.mark.parametrize(
    ("table", "rows", "columns"),
    [
        ("table1", ["re_uncertainty", "dwa", "ours"], ["CIFAR-100", "AGNews"]),
        (
            "table2",
            ["stl", "vanilla", "uncertainty", "dwa", "ours"],
            ["2-class", "3-class", "4-class", "5-class", "100-class"],
        ),
        ("table3", ["stl", "vanilla", "uncertainty", "dwa", "ours"], ["2-class", "4-class"]),
    ],
)
def test_every_cell_is_there(table, rows, columns):
    table = HUQ.table(table)
    assert [row.id for row in table.rows] == rows
    assert [column.id for column in table.columns] == columns
    for row in rows:
        for column in columns:
            assert isinstance(table.value(row, column), float)
            assert float(table.printed(row, column)) == table.value(row, column)


# A second reading of the paper, column by column, where the file has the numbers row by row.
@pytest.mark.parametrize(
    ("table", "column", "printed"),
    [
        ("table1", "CIFAR-100", "0.001 0.0004 0.0006"),
        ("table1", "AGNews", "0.0004 0.0002 0.0003"),
        ("table2", "2-class", "74.52 79.97 69.47 80.33 81.68"),
        ("table2", "3-class", "75.70 74.36 59.52 74.57 77.01"),
        ("table2", "4-class", "74.02 70.97 55.42 71.37 74.41"),
        ("table2", "5-class", "72.81 67.95 50.21 68.41 72.07"),
        ("table2", "100-class", "76.56 60.23 34.91 60.40 66.81"),
        ("table3", "2-class", "84.00 86.57 84.56 85.86 86.02"),
        ("table3", "4-class", "79.13 80.11 75.94 79.77 81.18"),
    ],
)
def test_numbers_are_those_of_the_paper(table, column, printed):
    table = HUQ.table(table)
    assert [table.printed(row.id, column) for row in table.rows] == printed.split()


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


def test_methods_are_named_as_in_the_code():
    from mtlutils import balancing

    methods = {row.method for table in HUQ.tables for row in table.rows}
    assert methods == {"single_task", "equal", "uncertainty", "revised_uncertainty", "dwa", "adaptive"}
    assert methods - {"single_task"} <= set(balancing.names())


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


def test_inconsistencies_are_in_the_tables():
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
