"""The ledger, the scoreboard and the tables' cells in a browser: they sort, filter, open, and anyone can read them."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from shared import MATHS_IS_SET

SITE = Path(__file__).parents[2] / "_build" / "html"
if not (SITE / "book" / "ledger.html").is_file():
    pytest.skip("no built site; run `make book`", allow_module_level=True)
CONTENT = sorted(str(path.relative_to(SITE)) for part in ("book", "notebooks") for path in SITE.glob(f"{part}/*.html"))
CHAPTER = "notebooks/adaptive_agnews.html"
SHOWN = "table.ledger tbody tr:not([hidden])"
OPEN = "[...document.querySelectorAll('.cell-details')].filter(each => each.checkVisibility()).map(each => each.id)"


@pytest.fixture
def view(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 844})
    yield page
    page.close()


@pytest.fixture
def ledger(view, address):
    view.goto(f"{address}/book/ledger.html")
    view.wait_for_selector(".ledger-filters:not([hidden])")
    return view


def texts(page, column):
    """Texts of a column of the ledger, top to bottom."""
    return [text.strip() for text in page.locator(f"{SHOWN} > :nth-child({column})").all_inner_texts()]


def sort_keys(page, column):
    cells = page.locator(f"{SHOWN} > :nth-child({column})")
    return cells.evaluate_all("cells => cells.map(cell => cell.dataset.sort ?? cell.textContent)")


# The dark theme changes colours alone, and axe takes seconds a page.
@pytest.mark.parametrize(
    ("theme", "page"),
    [("light", page) for page in CONTENT]
    + [("dark", page) for page in ("book/index.html", "book/ledger.html", CHAPTER)],
)
def test_axe_finds_no_violation(page, theme, browser, address):
    from axe_playwright_python.sync_playwright import Axe

    view = browser.new_page(color_scheme=theme, reduced_motion="reduce")  # a colour on its way to another is neither
    view.goto(f"{address}/{page}")
    assert view.evaluate("document.documentElement.dataset.theme") == theme
    found = Axe().run(view, options={"resultTypes": ["violations"]}).response
    view.close()
    assert len(found["passes"]) > 20
    violations = [(each["id"], node["html"][:200]) for each in found["violations"] for node in each["nodes"]]
    # The theme puts its logo beside the landmarks. No criterion of WCAG asks for more, and its templates place it.
    assert not [(rule, html) for rule, html in violations if not (rule == "region" and "logo__image" in html)]


def test_ledger_without_javascript_is_a_complete_table(browser, address):
    view = browser.new_context(java_script_enabled=False).new_page()
    view.goto(f"{address}/book/ledger.html")
    page = BeautifulSoup((SITE / "book" / "ledger.html").read_text(encoding="utf-8"), "html.parser")
    rows = page.select("table.ledger tbody tr")
    assert rows
    assert [view.locator(SHOWN).count(), view.locator("table.ledger tbody tr").count()] == [len(rows)] * 2
    assert page.select_one(".ledger-count").text == f"{len(rows)} claims"
    assert not view.locator(".ledger-filters").is_visible()
    assert view.locator("table.ledger button").count() == 0
    view.context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_ledger_fits_a_phone_and_a_small_laptop(width, ledger):
    ledger.set_viewport_size({"width": width, "height": 844})
    wide, room = ledger.evaluate(
        "(() => { const box = document.querySelector('.table-box'); return [box.scrollWidth, box.clientWidth]; })()"
    )
    assert wide <= room


def test_headers_sort_by_mouse_and_keyboard(ledger):
    n = ledger.get_by_role("button", name="n", exact=True)
    n.click()
    up = list(map(int, texts(ledger, 6)))
    assert up == sorted(up)
    assert len(set(up)) > 1
    n.focus()
    ledger.keyboard.press("Enter")
    assert list(map(int, texts(ledger, 6))) == up[::-1]
    assert ledger.locator("th[aria-sort]").evaluate_all("each => each.map(th => th.ariaSort)") == ["descending"]
    # what has no effect comes last, either way
    for sign in (1, -1):
        ledger.get_by_role("button", name="Effect", exact=True).click()
        keys = sort_keys(ledger, 5)
        effects = [sign * float(key) for key in keys if key]
        assert effects == sorted(effects)
        assert keys == sorted(keys, key=lambda key: not key)
    assert ledger.locator("th[aria-sort]").inner_text().startswith("Effect")


def test_filters_narrow_the_ledger_and_say_how_far(ledger):
    count = ledger.locator(".ledger-count")
    total = ledger.locator(SHOWN).count()
    assert count.get_attribute("role") == "status"
    ledger.get_by_label("Paper").select_option("huq2022")
    of_paper = ledger.locator(SHOWN).count()
    assert 0 < of_paper < total
    assert set(texts(ledger, 1)) == {"Huq & Pervin 2022"}
    assert count.inner_text() == f"{of_paper} of {total} claims"
    verdict = texts(ledger, 3)[0]
    ledger.get_by_label("Verdict").select_option(verdict)
    assert set(texts(ledger, 3)) == {verdict}
    ledger.get_by_role("button", name="Show all").click()
    ledger.wait_for_function(f"document.querySelectorAll('{SHOWN}').length === {total}")
    rows = [" ".join(text.split()).lower() for text in ledger.locator(SHOWN).all_inner_texts()]
    ledger.get_by_label("Text").fill("NEWS  huq")
    found = [" ".join(text.split()).lower() for text in ledger.locator(SHOWN).all_inner_texts()]
    assert found == [row for row in rows if "news" in row and "huq" in row]
    assert found
    ledger.get_by_label("Text").fill("no claim says this")
    assert count.inner_text() == f"0 of {total} claims"


def test_scoreboard_leads_to_the_papers_part_of_the_ledger(view, address):
    view.goto(f"{address}/book/index.html")
    link = view.locator("a.tally[href$='#huq2022']").first
    assert re.match(r"\d+ \w+", link.inner_text())
    link.click()
    view.wait_for_url("**/ledger.html#huq2022")
    view.wait_for_selector(".ledger-filters:not([hidden])")
    assert set(texts(view, 1)) == {"Huq & Pervin 2022"}
    assert view.get_by_label("Paper").input_value() == "huq2022"
    view.evaluate("location.hash = 'lee2020'")
    view.wait_for_function("document.querySelector('.ledger-filters').elements.paper.value === 'lee2020'")
    assert set(texts(view, 1)) == {"Lee & Son 2020"}


@pytest.mark.parametrize("width", [390, 1280])
def test_cell_opens_on_hover_and_focus_within_the_screen(width, browser, address):
    # without motion, under which the page would still be on its way to the cell
    view = browser.new_page(viewport={"width": width, "height": 844}, reduced_motion="reduce")
    view.goto(f"{address}/{CHAPTER}")
    view.wait_for_function(MATHS_IS_SET)
    assert view.evaluate(OPEN) == []
    cells = view.locator("td > [aria-describedby]")
    assert cells.count()
    for number in (0, cells.count() - 1):
        cell = cells.nth(number)
        details = view.locator(f"[id='{cell.get_attribute('aria-describedby')}']")
        box_width = cell.evaluate("cell => cell.closest('.table-box').scrollWidth")
        cell.focus()
        assert details.is_visible()
        assert re.match(r"n = \d+ .*interval.* · .*profile \w+.* · .* commit", details.inner_text())
        where = details.bounding_box()
        assert where["x"] >= 0 and where["x"] + where["width"] <= width
        assert where["y"] >= 0 and where["y"] + where["height"] <= 844
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        assert cell.evaluate("cell => cell.closest('.table-box').scrollWidth") == box_width
        view.keyboard.press("Escape")
        assert view.evaluate(OPEN) == []
        cell.blur()
        cell.hover()
        assert view.evaluate(OPEN) == [cell.get_attribute("aria-describedby")]
        view.mouse.move(0, 0)
        assert view.evaluate(OPEN) == []
    view.close()


def test_keyboard_gets_past_a_tables_cells(view, address):
    view.goto(f"{address}/{CHAPTER}")
    skip = view.locator(".skip-cells").first
    skip.focus()
    assert skip.bounding_box()["height"] > 10
    view.keyboard.press("Enter")
    view.keyboard.press("Tab")
    assert not view.evaluate("document.activeElement.hasAttribute('aria-describedby')")
