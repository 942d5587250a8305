#!/usr/bin/env python
"""Prints the built book to one PDF through the system's Chromium.

    python book/print.py

The chapters' articles are joined in the order of `_toc.yml` into one page, in which a link to another chapter leads to
its place on that page. Chromium sets the maths as the site does, and makes the PDF's outline from the headings. It does
not know on which page a link ends, so that the contents get their page numbers from a first print.
"""

import re
import shutil
import sys
import threading
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# It runs as root and without a screen, and asks nobody but this machine.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
# What only works on a screen. A folded-away input of a notebook stays folded. A form says what the cell above it says.
ON_SCREEN = (
    "script, form, button, .headerlink, .cell-details, .skip-cells, .d-print-none, details.above-input, "
    "details.parameters"
)
# Attributes that name elements by id.
NAMING = ("id", "for", "headers", "aria-describedby", "aria-labelledby", "aria-controls")
# Millimetres between the margins of an A4 page that print.css sets: its width, and width and height on its side.
SPACE = [210 - 2 * 18, 297 - 2 * 15, 210 - 2 * 15]
SMALLEST = 0.65
"""Scale below which a table turns on its side rather than shrink further."""
FIT = """([upright, sideways, height, smallest]) => {
    const width = element => Math.max(element.scrollWidth, element.getBoundingClientRect().width);
    for (const table of document.querySelectorAll('.chapter table')) {
        const scale = upright / width(table);
        if (scale >= 1) continue;
        const box = table.closest('.table-box');
        if (scale >= smallest || !box) {
            table.style.zoom = scale;
            continue;
        }
        // the lines below it shrink as well, so that they stay on its page, unless it fills several
        box.classList.add('sideways');
        let zoom = Math.min(1, sideways / width(table));
        box.style.width = `${sideways / zoom}px`;
        const pages = box.scrollHeight * zoom / height;
        if (pages > 1 && pages < 1.5) zoom /= pages * 1.02;
        box.style.zoom = zoom;
    }
    for (const maths of document.querySelectorAll('mjx-container[display="true"]'))
        if (maths.scrollWidth > upright) maths.style.zoom = upright / maths.scrollWidth;
}"""

NUMBER = """pages => {
    for (const link of document.querySelectorAll('.book-contents a'))
        link.dataset.page = pages[link.hash.slice(1)] ?? 999;
}"""


def order(toc: dict) -> list[tuple[str, list[str]]]:
    """Return each part's caption with its chapters, the root in a part without one."""
    parts = [("", [toc["root"]])]
    return parts + [(part["caption"], [chapter["file"] for chapter in part["chapters"]]) for part in toc["parts"]]


def joined(root: Path) -> str:
    """Return the book as one page, for a place two folders below the root, such as ``_build/print``.

    Args:
        root: The repository's, in which the site is built.
    """
    site = root / "_build" / "html"
    parts = order(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")))
    files = [file for _, chapters in parts for file in chapters]
    pages = {file: BeautifulSoup((site / f"{file}.html").read_text(encoding="utf-8"), "html.parser") for file in files}
    contents, body = [], []
    for caption, chapters in parts:
        place = f"part-{slug(caption)}"
        if caption:
            contents.append(f'<li class="part"><a href="#{place}">{caption}</a><ol>')
            body.append(f'<h1 class="part" id="{place}">{caption}</h1>')
        for file in chapters:
            article = chapter(pages[file], file, files, deeper=bool(caption))
            contents.append(entry(article, slug(file)))
            body.append(f'<article class="bd-article chapter" id="{slug(file)}">{article.decode_contents()}</article>')
        contents.append("</ol></li>" if caption else "")
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">',
            f"<title>{yaml.safe_load((root / '_config.yml').read_text(encoding='utf-8'))['title']}</title>",
            *head(list(pages.values()), root),
            "</head><body>",
            title_page(root),
            f'<nav class="book-contents"><h1>Contents</h1><ol>{"".join(contents)}</ol></nav>',
            f'<main class="bd-content">{"".join(body)}</main></body></html>',
        ]
    )


def chapter(page: BeautifulSoup, file: str, files: list[str], deeper: bool) -> Tag:
    """Return a page's article, made fit for its place in the book.

    Args:
        page: The chapter's page of the site.
        file: Its name in the book's order.
        files: Those of all chapters.
        deeper: Whether its headings go down by a level, below that of a part.
    """
    article = page.select_one("article.bd-article")
    assert article is not None
    for element in article.select(ON_SCREEN):
        element.decompose()
    ids = {element["id"] for element in article.select("[id]")}
    within = {f"{name}.html": name for name in files}
    for text in article.find_all(string=re.compile(" ± ")):
        text.replace_with(text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"))
    for element in article.find_all(True):
        for name in NAMING:
            if name in element.attrs:
                element[name] = " ".join(f"{slug(file)}--{each}" for each in str(element[name]).split())
        for name in ("href", "src"):
            if name in element.attrs:
                element[name] = address(str(element[name]), file, within)
        if deeper and (level := re.fullmatch("h([1-5])", element.name)):
            element.name = f"h{int(level[1]) + 1}"
        if element.name == "details":
            element["open"] = ""
        if element.name == "style" and element.string:
            element.string = re.sub(
                r"#([\w-]+)", lambda m: f"#{slug(file)}--{m[1]}" if m[1] in ids else m[0], element.string
            )
    return article


def address(link: str, file: str, within: dict[str, str]) -> str:
    """Return where a chapter's link leads from the joined page.

    Args:
        link: As the chapter has it.
        file: The chapter.
        within: Page of the site -> its chapter.
    """
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return link
    path = normpath(join(dirname(file), unquote(parts.path))) if parts.path else f"{file}.html"
    if path not in within:
        return f"../html/{path}"
    return f"#{slug(within[path])}" + (f"--{unquote(parts.fragment)}" if parts.fragment else "")


def slug(name: str) -> str:
    """Return a name as an id."""
    return re.sub(r"\W+", "-", name.lower())


def entry(article: Tag, place: str) -> str:
    """Return a chapter's entry in the contents, with its sections."""
    first, *others = article.select("h1, h2, h3")
    sections = [heading for heading in others if heading.name == f"h{int(first.name[1]) + 1}"]
    inside = "".join(f'<li><a href="#{s.parent["id"]}">{s.decode_contents()}</a></li>' for s in sections)
    return f'<li><a href="#{place}">{first.decode_contents()}</a><ol class="sections">{inside}</ol></li>'


def head(pages: list[BeautifulSoup], root: Path) -> list[str]:
    """Return the style sheets and MathJax of the site, and the style sheet of the print."""
    found = {"link": pages[0].select('link[rel="stylesheet"]'), "script": []}
    for page in pages:
        if setter := page.select_one('script[src*="mathjax"]'):
            found["script"] = [s for s in page.select("script") if "window.MathJax" in s.text] + [setter]
            break
    for element in found["link"] + found["script"]:
        for name in {"href", "src"} & element.attrs.keys():
            element[name] = f"../html/{normpath(join('book', element[name]))}"
    style = (root / "book" / "print.css").read_text(encoding="utf-8")
    return [*map(str, found["link"] + found["script"]), f"<style>{style}</style>"]


def title_page(root: Path) -> str:
    """Return the first page: title, authors, version and where the book is kept."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    url = config["repository"]["url"]
    return (
        f'<header class="title-page"><p class="title">{config["title"]}</p><p>{config["author"]}</p>'
        f'<p>Version {version}</p><p><a href="{url}">{url.removeprefix("https://")}</a></p></header>'
    )


def pages_of(pdf: Path) -> dict[str, int]:
    """Return on which page of a print each place is that a link leads to, by its id."""
    reader = PdfReader(pdf)
    numbers = {name: reader.get_destination_page_number(place) for name, place in reader.named_destinations.items()}
    return {name.removeprefix("/"): number + 1 for name, number in numbers.items() if number is not None}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing of each file."""


def write(html: str, pdf: Path) -> None:
    """Print a page to a PDF with an outline; it must lie in a folder beside the site's.

    Args:
        html: From :func:`joined`.
        pdf: Where to, in ``_build``.
    """
    from playwright.sync_api import sync_playwright

    browser_path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser_path is None:
        sys.exit("error: no Chromium on this machine: `apt-get install chromium`, or Google Chrome on the PATH")
    place = pdf.parent / "print"
    place.mkdir(exist_ok=True)
    (place / "index.html").write_text(html, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=pdf.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pixels = [int(space * 96 / 25.4) for space in SPACE]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": pixels[0], "height": 900})
        page.set_default_timeout(300_000)
        page.emulate_media(media="print", color_scheme="light")
        page.goto(f"http://127.0.0.1:{server.server_port}/print/index.html")
        if page.locator(".math").count():
            page.wait_for_function("() => window.MathJax?.startup?.promise?.then(() => true)")
        page.evaluate(FIT, [*pixels, SMALLEST])
        pages: dict[str, int] = {}
        for _ in range(2):
            page.evaluate(NUMBER, pages)
            page.pdf(path=pdf, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
            pages = pages_of(pdf)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    repository = Path(__file__).resolve().parents[1]
    if not (repository / "_build" / "html" / "index.html").is_file():
        sys.exit("error: no built site; run `make book` first")
    target = repository / "_build" / "mtl-companion.pdf"
    write(joined(repository), target)
    print(f"The print: {target}")
