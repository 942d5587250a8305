"""The built site: complete in itself, every link leads somewhere, every table and picture says what it is."""

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from shared import MATHS_IS_SET

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
PAGES = [str(path.relative_to(SITE)) for path in sorted(SITE.rglob("*.html")) if "_static" not in path.parts]
if "index.html" not in PAGES:
    pytest.skip("no built site; run `make book`", allow_module_level=True)
CONTENT = [page for page in PAGES if page.startswith(("book/", "notebooks/"))]
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]

FOREIGN = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
FOREIGN_CSS = re.compile(r"""(@import\s+|url\(\s*)["']?(https?:)?//""", re.IGNORECASE)
# attributes whose address the browser loads by itself
LOADED = [
    ("script, img, iframe, source, video, audio, embed, input", "src"),
    ("img, source", "srcset"),
    ("object", "data"),
    ("video", "poster"),
    ("svg image, svg use", "href"),
    ("svg image, svg use", "xlink:href"),
]
UNLOADED_LINKS = {"canonical", "alternate", "author", "index", "search", "next", "prev", "license", "help"}


@cache
def read(page: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / page).read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(page: str) -> set[str]:
    return {element.get("id") or element.get("name") for element in read(page).select("[id], a[name]")}


@cache
def files_in_git() -> set[str]:
    # with those not yet added, so that a new page can be looked at before its first commit
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = {path for path in listed.stdout.splitlines() if (ROOT / path).exists()}
    return files | {str(folder) for path in files for folder in Path(path).parents}  # a link may name a folder


def loaded(page: str) -> list[str]:
    """Every address that a browser loads with the page."""
    soup = read(page)
    found = [tag[name] for tags, name in LOADED for tag in soup.select(tags) if tag.get(name)]
    return found + [tag["href"] for tag in soup.select("link[href]") if not UNLOADED_LINKS & set(tag.get("rel", []))]


def broken(page: str, address: str) -> bool:
    """Whether an address inside the site leads nowhere."""
    path, anchor = urldefrag(address)
    path = unquote(urlsplit(path).path)
    target = ((SITE / page).parent / path if path else SITE / page).resolve()
    if not target.is_file():
        return True
    return target.suffix == ".html" and bool(anchor) and unquote(anchor) not in anchors(str(target.relative_to(SITE)))


def test_front_page_leads_to_the_book():
    assert not broken("index.html", re.search(r"url=([^\"]+)", (SITE / "index.html").read_text())[1])


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_nothing_from_elsewhere(page):
    assert not [address for address in loaded(page) if FOREIGN.match(address)]
    styles = [tag.get_text() for tag in read(page).select("style")] + [t["style"] for t in read(page).select("[style]")]
    assert not [style for style in styles if FOREIGN_CSS.search(style)]


def test_style_sheets_load_nothing_from_elsewhere():
    sheets = list(SITE.rglob("*.css"))
    assert sheets
    assert not [sheet for sheet in sheets if FOREIGN_CSS.search(sheet.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES)
def test_no_link_within_the_site_is_broken(page):
    links = [tag["href"] for tag in read(page).select("a[href]")] + loaded(page)
    inside = [link for link in links if not urlsplit(link).scheme and not FOREIGN.match(link)]
    assert not [link for link in inside if broken(page, link)]


@pytest.mark.parametrize("page", CONTENT)
def test_every_table_has_a_caption_and_says_where_it_is_from(page):
    """A table of measured or published numbers ends, in its box, with a provenance line; any other is a `reference`."""
    for table in read(page).select("article table"):
        start = table.get_text(" ", strip=True)[:80]
        assert table.caption and table.caption.get_text(strip=True), f"no caption: {start}"
        if "reference" in table.get("class", []):
            continue
        box = table.find_parent(class_="table-box")
        assert box, f"neither in a .table-box nor of class reference: {start}"
        line = table.find_next(class_="provenance")
        assert line and box in line.parents and line.get_text(strip=True), f"no provenance line: {start}"


@pytest.mark.parametrize("page", CONTENT)
def test_every_picture_says_what_it_shows(page):
    soup = read(page)
    assert not [img for img in soup.select("img") if not (img.get("alt") or "").strip()]
    drawings = [svg for svg in soup.select("article svg") if not svg.find_parent("svg") and not svg.get("aria-hidden")]
    assert not [svg.attrs for svg in drawings if svg.get("role") != "img" or not (svg.get("aria-label") or "").strip()]


@pytest.mark.parametrize("page", CONTENT)
def test_launch_and_source_links_name_files_in_git(page):
    name = REPOSITORY["url"].removeprefix("https://github.com/")
    branch = REPOSITORY["branch"]
    patterns = {
        "source": rf"https://github\.com/{name}/(?:blob|tree|raw)/{branch}/([^?#]+)",
        "edit": rf"https://github\.com/{name}/edit/{branch}/([^?#]+)",
        "colab": rf"https://colab\.research\.google\.com/github/{name}/blob/{branch}/([^?#]+)",
        "binder": rf"https://mybinder\.org/v2/gh/{name}/{branch}\?urlpath=lab/tree/([^?#]+)",
    }
    links = [unquote(tag["href"]) for tag in read(page).select("a[href]")]
    named = {kind: {m[1] for link in links if (m := re.match(pattern, link))} for kind, pattern in patterns.items()}
    assert not set.union(*named.values()) - files_in_git()
    assert named["source"] and named["edit"]
    if page.startswith("notebooks/"):
        assert named["colab"] == named["binder"] == {page.replace(".html", ".ipynb")}


# What sticks out on the right, unless an element around it scrolls or hides it.
STICKING_OUT = """() => [...document.querySelectorAll('article *')].filter(element => {
    if (element.getBoundingClientRect().right <= innerWidth + 1) return false;
    for (let box = element; box.tagName !== 'ARTICLE'; box = box.parentElement)
        if (getComputedStyle(box).overflowX !== 'visible' && box.getBoundingClientRect().right <= innerWidth + 1)
            return false;
    return true;
}).map(element => element.outerHTML.slice(0, 100))"""
UNSET_MATHS = "() => [...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container')).length"


@pytest.fixture(scope="module", params=[390, 1280])
def view(request, browser):
    """One window a width, kept for all pages, so that MathJax and the fonts are loaded once."""
    page = browser.new_page(viewport={"width": request.param, "height": 844})
    yield page
    page.close()


@pytest.mark.parametrize("page", [*CONTENT, "search.html"])
def test_page_in_a_browser(page, view, address):
    """It fits the screen, its maths is set, it asks no other host for anything, and it complains of nothing."""
    complaints = []
    listeners = {
        "request": lambda sent: complaints.append(sent.url) if not sent.url.startswith((address, "data:")) else None,
        "console": lambda message: complaints.append(message.text) if message.type == "error" else None,
        "pageerror": lambda error: complaints.append(str(error)),
    }
    for event, listener in listeners.items():
        view.on(event, listener)
    view.goto(f"{address}/{page}")
    if read(page).select(".math"):
        view.wait_for_function(MATHS_IS_SET)
        assert view.evaluate(UNSET_MATHS) == 0
        assert view.locator("mjx-merror").count() == 0
    assert view.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert view.evaluate(STICKING_OUT) == []
    for event, listener in listeners.items():
        view.remove_listener(event, listener)
    assert complaints == []


# The primer computes its numbers on the page, without records.
@pytest.mark.parametrize("page", [p for p in CONTENT if p.startswith("notebooks/") and "primer" not in p])
def test_cells_with_an_interval_say_what_is_behind_them(page):
    cells = [cell for cell in read(page).select(".table-box td") if "±" in cell.text]
    silent = [cell.text for cell in cells if not cell.select_one("[aria-describedby] + .cell-details")]
    assert not silent


def test_dark_theme_turns_drawings_dark_and_leaves_pictures(browser, address):
    view = browser.new_page(color_scheme="dark")
    view.goto(f"{address}/notebooks/single_step_multimnist.html")
    drawn, pictures = (
        view.locator(f"figure{kind} > img").evaluate_all("each => each.map(image => getComputedStyle(image).filter)")
        for kind in (".drawn", ":not(.drawn)")
    )
    view.close()
    assert drawn and all("invert" in each for each in drawn)
    assert pictures and not any("invert" in each for each in pictures)
