"""The form of a notebook's parameters: what it writes is what a shell, YAML and papermill read."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlutils import forms

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "book" / "_static" / "forms.js"
COST = ROOT / "notebooks" / "weighting_cost.ipynb"
COPIED = "navigator.clipboard.writeText = async text => { window.copied = text }"

special = st.text("a'\"\\[], :#$`!\n", max_size=8)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | special
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
items = st.recursive(st.none() | st.booleans() | numbers | texts, lambda each: st.lists(each, max_size=3), max_leaves=8)
few = settings(max_examples=100, deadline=None)


@pytest.fixture(scope="module")
def form(browser):
    """A page of one form, with what it does when nothing is served."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_content(forms.fragment(COST))
    page.add_script_tag(path=SCRIPT)
    page.locator("summary").click()
    yield page
    page.close()


@pytest.fixture
def fields(form):
    """The page with every field at its default."""
    form.get_by_role("button", name="Back to the defaults").click()
    form.get_by_label("a command").check()
    form.wait_for_function("document.querySelector('details pre code').textContent.endsWith('out.ipynb')")
    return form


def shown(page):
    return page.locator("details.parameters pre").text_content()


def read(page, kind, text, nullable=False):
    """What the form makes of a text for the parameter ``x``."""
    return page.evaluate("given => readParameter('x', ...given)", [kind, text, nullable])


def given_to_papermill(words):
    """The parameters that papermill makes of its options."""
    from papermill.cli import NoDatesSafeLoader, _resolve_type

    option, *rest = words
    if option == "-y":
        return yaml.load(*rest, Loader=NoDatesSafeLoader)
    name, text = rest
    return {name: text if option == "-r" else _resolve_type(text)}


def same(one, other):
    """Whether two values are equal and of one type, inside lists too."""
    return repr(one) == repr(other)


@few
@given(text=texts)
def test_word_of_a_shell(text, form):
    word = form.evaluate("shellWord", text)
    assert word == shlex.quote(text)
    assert shlex.split(word) == [text]


@few
@given(value=st.lists(items, max_size=4), ascii_only=st.booleans())
def test_list_in_json(value, ascii_only, form):
    found = read(form, "list", json.dumps(value, ensure_ascii=ascii_only))
    assert same(yaml.safe_load(found["yaml"]), {"x": value})
    assert same(given_to_papermill(found["words"]), {"x": value})


@few
@given(value=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8), min_size=1))
def test_list_with_single_quotes(value, form):
    quoted = ", ".join("'{}'".format(text.replace("'", "''")) for text in value)
    assert same(yaml.safe_load(read(form, "list", f"[{quoted}]")["yaml"]), {"x": value})


@few
@given(value=texts)
def test_text(value, form):
    found = read(form, "str", value)
    assert same(yaml.safe_load(found["yaml"]), {"x": value})
    assert same(given_to_papermill(found["words"]), {"x": value})


@few
@given(kind=st.sampled_from(["int", "float"]), value=numbers)
def test_number(kind, value, form):
    value = {"int": int, "float": float}[kind](value) if abs(value) < 1e300 else {"int": 1, "float": 1.0}[kind]
    for text in (repr(value), f" +{value!r} " if value > 0 else f"{value!r}\t"):
        found = read(form, kind, text)
        assert same(yaml.safe_load(found["yaml"]), {"x": value})
        assert same(given_to_papermill(found["words"]), {"x": value})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "007", 7),
        ("int", "010", 10),  # which is 8 in YAML 1.1
        ("float", "1e-4", 1e-4),  # which is a text there
        ("float", "1", 1.0),
        ("float", ".5", 0.5),
        ("list", "[1e-4, 1E5, -.5, 010, 1.]", [1e-4, 1e5, -0.5, 10, 1.0]),
        ("list", " [equal, 'it''s', \"b\", True, null, None,] ", ["equal", "it's", "b", True, None, None]),
        ("list", "[[32, 64], []]", [[32, 64], []]),
        ("list", "[no, on, nan]", ["no", "on", "nan"]),
        ("bool", "True", True),
        ("bool", "false", False),
        *(("str", text, text) for text in ("", "True", "None", "nan", "1", "1_0", "-1e5", " a ", "~", "infinity ")),
    ],
)
def test_value(kind, text, value, form):
    found = read(form, kind, text)
    assert same(yaml.safe_load(found["yaml"]), {"x": value})
    assert same(given_to_papermill(found["words"]), {"x": value})


@pytest.mark.parametrize("text", ["None", "null"])
def test_nothing_where_it_is_allowed(text, form):
    found = read(form, "int", text, True)
    assert yaml.safe_load(found["yaml"]) == given_to_papermill(found["words"]) == {"x": None}


WRONG = [
    ("int", "1.0", "A whole number"),
    ("int", "", "A whole number"),
    ("int", "None", "A whole number"),
    ("int", "1_000", "A whole number"),
    ("float", "1e999", "A number"),
    ("float", "nan", "A number"),
    ("float", ".", "A number"),
    ("bool", "yes", "True or False"),
    ("list", "1, 2", "square brackets"),
    ("list", "[1, 2", "bracket ] is missing"),
    ("list", "[1] 2", "follows the last bracket"),
    ("list", "[1 2]", "comma is missing"),
    ("list", "[,]", "item is missing"),
    ("list", "[adaptive(detach: false)]", "needs quotes"),
    ("list", "[1.2.3]", "is no number"),
    ("list", '["\\q"]', "is no text of JSON"),
    ("list", "[{a: 1}]", "needs quotes"),
]


@pytest.mark.parametrize(("kind", "text", "says"), WRONG)
def test_wrong_value_says_what_is_wrong(kind, text, says, form):
    tell = "given => { try { readParameter('x', ...given); return '' } catch (error) { return error.message } }"
    assert says in form.evaluate(tell, [kind, text, False])


def test_only_what_was_changed_is_given(fields):
    assert shown(fields) == "papermill notebooks/weighting_cost.ipynb out.ipynb"
    fields.get_by_label("seeds").fill("[0,1,\n 2]")  # the default, written otherwise
    fields.get_by_label("rounds").fill("2")
    assert shown(fields) == "papermill notebooks/weighting_cost.ipynb out.ipynb \\\n    -p rounds 2"
    fields.get_by_label("a file of parameters").check()
    assert yaml.safe_load(shown(fields)) == {"rounds": 2}


def test_mistake_is_told_beside_its_field(fields):
    rounds = fields.get_by_label("rounds")
    rounds.fill("many")
    assert rounds.get_attribute("aria-invalid") == "true"
    described = [fields.locator(f"#{name}") for name in rounds.get_attribute("aria-describedby").split()]
    assert [each.text_content() for each in described] == ["rounds of a measurement", "A whole number, such as 3."]
    assert described[1].is_visible()
    assert fields.get_by_role("status").text_content() == "1 value needs correcting."
    assert fields.get_by_role("button", name="Copy").is_disabled()
    assert shown(fields) == ""
    rounds.fill("3")
    assert rounds.get_attribute("aria-invalid") == "false"
    assert not described[1].is_visible()
    assert fields.get_by_role("status").text_content() == ""
    assert shown(fields).endswith("-p rounds 3")


def test_copying_without_a_clipboard_selects(fields):
    # what was set, and not served, has none
    fields.get_by_role("button", name="Copy").click()
    fields.wait_for_function("getSelection().toString() !== ''")
    assert fields.evaluate("getSelection().toString()") == shown(fields)
    assert "copy it with the keyboard" in fields.get_by_role("status").text_content()


def test_table_is_complete_without_the_script(browser):
    page = browser.new_page(java_script_enabled=False)
    page.set_content(forms.fragment(COST))
    page.locator("summary").click()
    assert page.locator("tbody tr").count() == len(forms.parameters(COST))
    assert page.get_by_role("cell", name="rounds of a measurement").is_visible()
    page.close()


def built(name):
    page = f"notebooks/{name}.html"
    path = ROOT / "_build" / "html" / page
    if not path.is_file():
        pytest.skip("no built site; run `make book`")
    return page


def test_copied_command_runs_with_the_parameters(browser, address, tmp_path):
    page = browser.new_page()
    page.goto(f"{address}/{built('weighting_cost')}")
    page.evaluate(COPIED)
    page.locator("details.parameters summary").click()
    asked = {"profile": 'it\'s "mine" [1]', "methods": ["equal", "adaptive(detach: false)"], "seeds": [3], "rounds": 4}
    for name, value in asked.items():
        page.get_by_label(f"{name} ").fill(value if isinstance(value, str) else json.dumps(value))
    page.locator("details.parameters").get_by_role("button", name="Copy").click()
    page.wait_for_function("window.copied")
    command = page.evaluate("window.copied")
    assert page.locator("details.parameters").get_by_role("status").text_content() == "Copied."
    page.get_by_label("a file of parameters").check()
    (tmp_path / "mine.yml").write_text(page.locator("details.parameters pre").text_content())
    page.close()
    (tmp_path / "notebooks").mkdir()
    shutil.copy(COST, tmp_path / "notebooks")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    with_file = "papermill notebooks/weighting_cost.ipynb prepared.ipynb -f mine.yml --prepare-only"
    for line in (command, with_file):
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    prepared, written = (json.loads((tmp_path / name).read_text()) for name in ("prepared.ipynb", "out.ipynb"))
    for notebook in (prepared, written):
        assert notebook["metadata"]["papermill"]["parameters"] == asked
    assert not [o for cell in written["cells"] for o in cell.get("outputs", []) if o["output_type"] == "error"]


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))])
def test_page_of_a_notebook_has_its_form(name, browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{address}/{built(name)}")
    details = page.locator("details.parameters")
    details.locator("summary").click()
    labels = [label.split()[0] for label in details.locator(".fields label").all_text_contents()]
    assert labels == [each.name for each in forms.parameters(ROOT / "notebooks" / f"{name}.ipynb")]
    assert details.locator("pre").text_content() == f"papermill notebooks/{name}.ipynb out.ipynb"
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.close()
