"""The print: the chapters in one page, whose links lead to places on it; and a small book made into a PDF."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

ROOT = Path(__file__).parents[2]
PAGE = """<html><head><link rel="stylesheet" href="../_static/a.css">{head}</head><body><nav>menu</nav>
<article class="bd-article"><section id="{id}"><h1>{title}<a class="headerlink" href="#{id}">#</a></h1>{body}</section>
</article></body></html>"""
PAGES = {
    "book/index": {
        "id": "home",
        "title": "Home",
        "body": '<p><a href="../notebooks/one.html">chapter</a> <a href="../notebooks/one.html#table">its table</a> '
        '<a href="#home">here</a> <a href="https://example.org/#x">elsewhere</a> <img src="../_static/a.png"></p>',
    },
    "notebooks/one": {
        "id": "one",
        "title": "One",
        "body": '<section id="table"><h2>A table</h2><style>#T_a td {color: #fff}</style><form>screen only</form>'
        '<div class="table-box"><table id="T_a"><caption>Wide</caption><tr>'
        + "<td>1.25 ± 0.25</td>"
        * 40
        + "</tr></table></div>"
        "<details><summary>Settings</summary>epochs</details></section>",
    },
}


@pytest.fixture(scope="module")
def printing():
    """The script ``book/print.py`` as a module."""
    specification = importlib.util.spec_from_file_location("printing", ROOT / "book" / "print.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def book(tmp_path):
    """A repository with a built book of two chapters, the second in a part."""
    toc = "root: book/index\nparts:\n  - caption: Papers\n    chapters:\n      - file: notebooks/one\n"
    (tmp_path / "_toc.yml").write_text(toc)
    (tmp_path / "book").mkdir()
    for name in ("_config.yml", "pyproject.toml", "book/print.css"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name, parts in PAGES.items():
        file = tmp_path / "_build" / "html" / f"{name}.html"
        file.parent.mkdir(parents=True)
        file.write_text(PAGE.format(head="", **parts))
    return tmp_path


@pytest.fixture
def joined(printing, book):
    return BeautifulSoup(printing.joined(book), "html.parser")


def test_chapters_come_in_order_below_their_parts(joined):
    headings = [(heading.name, heading.text) for heading in joined.select("main :is(h1, h2, h3)")]
    assert headings == [("h1", "Home"), ("h1", "Papers"), ("h2", "One"), ("h3", "A table")]
    assert [link.text for link in joined.select(".book-contents a")] == ["Home", "Papers", "One", "A table"]


def test_links_within_the_book_lead_to_places_on_the_page(joined):
    ids = [element["id"] for element in joined.select("[id]")]
    assert len(ids) == len(set(ids))
    links = {link.text: link["href"] for link in joined.select("main a")}
    assert links.pop("elsewhere") == "https://example.org/#x"
    assert {text: link.removeprefix("#") for text, link in links.items()} == {
        "chapter": "notebooks-one",
        "its table": "notebooks-one--table",
        "here": "book-index--home",
    }
    inside = [link["href"] for link in joined.select("a") if link["href"].startswith("#")]
    assert not {link.removeprefix("#") for link in inside} - set(ids)


def test_styles_and_files_follow(joined):
    assert joined.select_one("main style").text == "#notebooks-one--T_a td {color: #fff}"
    assert joined.table["id"] == "notebooks-one--T_a"
    assert joined.img["src"] == "../html/_static/a.png"
    assert joined.select_one("link")["href"] == "../html/_static/a.css"


def test_what_only_works_on_a_screen_is_gone_and_what_is_folded_is_open(joined):
    assert not joined.select("form, nav:not(.book-contents), .headerlink")
    assert joined.details.has_attr("open")
    assert "1.25\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.25" in joined.table.text


def flat(outline):
    for part in outline:
        yield from flat(part) if isinstance(part, list) else [part]


def test_pdf_has_an_outline_page_numbers_and_a_page_on_its_side_for_the_wide_table(printing, book):
    if not any(map(shutil.which, printing.CHROMIUM)):
        pytest.skip("no Chromium on this machine: `apt-get install chromium`, or Google Chrome on the PATH")
    shutil.copy(ROOT / "book" / "print.py", book / "book")
    (book / "_build" / "html" / "index.html").touch()
    # In a process of its own: Playwright runs but once in a thread, and other site checks have it running.
    subprocess.run([sys.executable, book / "book" / "print.py"], check=True, capture_output=True)
    reader = PdfReader(book / "_build" / "mtl-companion.pdf")
    assert {page.mediabox.width > page.mediabox.height for page in reader.pages} == {True, False}
    titles = {part.title: reader.get_destination_page_number(part) + 1 for part in flat(reader.outline)}
    assert titles.keys() >= {"Home", "Papers", "One", "A table"}
    numbers = re.findall(r"^(Home|Papers|One|A table)\s+(\d+)$", reader.pages[1].extract_text(), re.MULTILINE)
    assert {title: int(number) for title, number in numbers} == {title: titles[title] for title, _ in numbers}
    assert len(numbers) == 4


def test_without_a_built_site_there_is_no_print(book):
    shutil.copy(ROOT / "book" / "print.py", book / "book")
    done = subprocess.run([sys.executable, book / "book" / "print.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: no built site; run `make book` first\n")
