"""The page in a browser: it is drawn, sorted, searched, and reached by keyboard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By

from harness.report.html.figure import (
    AnyFigure,
    Bars,
    Flame,
    Frame,
    Heat,
    Lane,
    Lanes,
    Mark,
    Plot,
    Points,
    Range,
    Ranges,
    RangeSeries,
    Series,
)
from harness.report.html.page import Page, Part, Tile
from harness.report.html.render import html
from harness.report.section import Column, Section
from harness.report.units import duration
from tests.browser.conftest import opened

EVIL = "<img src=http://127.0.0.1/x.png onerror=document.title='evil'>"
ROWS = (
    ("aten::mm", [[2, 3]], 12, 5_000),
    ("aten::add", None, 4, 70),
    ("aten::a long name that is not shown in full, " + "x" * 60 + "needle", None, 7, None),
    (EVIL, None, 9, 10_000_000),
    *((f"op{number}", None, number, 100 + number) for number in range(8)),
)
TABLE = Section(
    title="Operators",
    columns=(
        *(Column("operator", "name"), Column("input shapes", "shapes")),
        *(Column("count", "count"), Column("self", "ns")),
    ),
    rows=ROWS,
)
FLAME = Flame(
    title="Flame",
    frames=(
        Frame("all", -1, 1_000, "other"),
        Frame("main", 0, 1_000, "library"),
        Frame(EVIL, 1, 700, "own"),
        Frame("backward", 1, 300, "own"),
        Frame("aten::mm", 2, 600, "operator"),
    ),
)
FIGURES: tuple[AnyFigure, ...] = (
    Bars(
        title="Bars",
        unit="ns",
        labels=("step 1", EVIL),
        series=(Series("compute", (70, 10)), Series("idle", (30, None))),
    ),
    Ranges(
        title="Ranges",
        unit="ns",
        labels=("a", "b"),
        series=(RangeSeries("steps", (Range(1, 5, 9), None)),),
    ),
    Plot(
        title="Dots",
        x_title="steps",
        y_title="",
        x_unit="identifier",
        y_unit="ns",
        series=(Points(name="unprofiled", x=(1, 2, 3), y=(10, 20, 15)),),
    ),
    Plot(
        title="Roofline",
        x_title="operations per byte",
        y_title="speed",
        x_unit="number",
        y_unit="number",
        is_logarithmic=True,
        series=(
            Points(name="achieved", x=(0.3, 40.0), y=(0.01, 12.5), labels=(EVIL, "b")),
            Points(name=EVIL, x=(0.1, 50.0), y=(0.05, 25.0), is_line=True),
        ),
    ),
    Plot(
        title="Stairs",
        style="stairs",
        x_title="time",
        y_title="",
        x_unit="ns",
        y_unit="bytes",
        series=(Points(name="in use", x=(0, 10), y=(1 << 20, 1 << 30)),),
    ),
    Lanes(
        title="Lanes",
        edges_ns=(0, 10, 20, 30),
        lanes=(Lane("stream 1", (10, 0, 5)), Lane(EVIL, (1, 1, 1))),
        marks=(Mark("step 1", 0, 20), Mark("step 2", 20, 30)),
    ),
    Heat(title="Heat", rows=("mm", EVIL), columns=("mac", "vec"), values=((0.5, None), (0, 1.0))),
    FLAME,
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    parts = (
        Part(title="Tables", contents=(TABLE,)),
        *(Part(title=figure.title, contents=(figure,)) for figure in FIGURES),
        Part(title="Nothing", absent="nothing was recorded"),
    )
    tiles = (Tile("step", 1_000, "ns"), Tile("verdict", EVIL))
    path.write_bytes(html(Page(title="A page", warning=EVIL, tiles=tiles, parts=parts)))
    return path


def column(browser: Chrome, number: int) -> list[str]:
    """Return the texts of a column, of the rows that are shown."""
    script = (
        "return [...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden"
        " && row.cells.length === 4).map((row) => row.cells[arguments[0]].textContent)"
    )
    texts: list[str] = browser.execute_script(script, number)
    return texts


def focused(browser: Chrome) -> Any:
    return browser.switch_to.active_element


def press(browser: Chrome, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def flame_tells(browser: Chrome) -> str:
    return browser.find_element(By.CSS_SELECTOR, ".told").text


@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_is_drawn_and_the_page_is_as_wide_as_the_window(
    browser: Chrome, page: Path, width: int
) -> None:
    opened(browser, page, width=width)
    drawn = browser.find_elements(By.CSS_SELECTOR, "figure")
    assert len(drawn) == len(FIGURES)
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure > svg")) == len(FIGURES) - 1
    assert len(browser.find_elements(By.CSS_SELECTOR, ".flame button")) == len(FLAME.frames)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    assert browser.title == "A page"
    assert browser.find_elements(By.CSS_SELECTOR, "img") == []


def test_the_scripts_units_are_those_of_the_terminal(browser: Chrome, page: Path) -> None:
    opened(browser, page)
    values = [0.5, 1, 99, 999, 1_000, 1_234, 999_499, 999_600, 10**7, 6 * 10**10, 10**13]
    script = "return arguments[0].map((value) => format(value, 'ns'))"
    shown = browser.execute_script(script, values[1:])
    assert shown == [duration(value) for value in values[1:]]


def test_a_click_sorts_a_table_by_its_numbers_and_again_the_other_way(
    browser: Chrome, page: Path
) -> None:
    opened(browser, page)
    headers = browser.find_elements(By.CSS_SELECTOR, "th button")
    headers[3].click()
    assert column(browser, 3)[:3] == ["10 ms", "5 µs", "107 ns"]
    assert column(browser, 3)[-1] == "–"
    assert headers[3].find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    headers[3].click()
    assert column(browser, 3)[:2] == ["70 ns", "100 ns"]
    assert column(browser, 3)[-1] == "–"
    headers[0].click()
    assert column(browser, 0)[1:4] == sorted(column(browser, 0)[1:4])
    assert headers[3].find_element(By.XPATH, "..").get_attribute("aria-sort") is None


def test_headers_are_reached_and_used_by_keyboard(browser: Chrome, page: Path) -> None:
    opened(browser, page)
    first = browser.find_element(By.CSS_SELECTOR, "th button")
    browser.execute_script("arguments[0].focus()", first)
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert focused(browser).text == "count"
    press(browser, Keys.ENTER)
    assert column(browser, 2)[:3] == ["12", "9", "7"]
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert focused(browser).text == "operator"
    press(browser, Keys.ARROW_LEFT)
    assert focused(browser).text == "self"


def test_the_first_tab_skips_to_the_content(browser: Chrome, page: Path) -> None:
    opened(browser, page)
    press(browser, Keys.TAB)
    assert focused(browser).text == "Skip to the content"
    press(browser, Keys.ENTER)
    assert focused(browser).tag_name == "main"
    press(browser, Keys.TAB)
    assert focused(browser).get_attribute("type") == "search"


def test_a_search_shows_the_rows_that_have_all_words(browser: Chrome, page: Path) -> None:
    opened(browser, page)
    search = browser.find_element(By.CSS_SELECTOR, ".search input")
    search.send_keys("ATEN add")
    assert column(browser, 0) == ["aten::add"]
    assert browser.find_element(By.CSS_SELECTOR, ".search output").text == "1 of 12 rows"
    search.clear()
    search.send_keys("needle")  # in the part of the name that is cut
    assert len(column(browser, 0)) == 1
    search.clear()
    search.send_keys(" ")
    assert len(column(browser, 0)) == len(ROWS)


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_is_that_of_the_system_until_it_is_chosen(
    browser: Chrome, page: Path, *, dark: bool
) -> None:
    opened(browser, page, dark=dark)

    def back() -> str:
        script = "return getComputedStyle(document.body).backgroundColor"
        return str(browser.execute_script(script))

    light_is, dark_is = "rgb(246, 247, 249)", "rgb(18, 22, 29)"
    assert back() == (dark_is if dark else light_is)
    button = browser.find_element(By.ID, "theme")
    assert button.text == ("Light" if dark else "Dark")
    button.click()
    assert back() == (light_is if dark else dark_is)
    # The browser may keep the choice a moment later.
    until = time.monotonic() + 10
    browser.get(page.as_uri())
    while back() != (light_is if dark else dark_is) and time.monotonic() < until:
        time.sleep(0.2)
        browser.get(page.as_uri())
    assert back() == (light_is if dark else dark_is)


def test_the_flame_graph_begins_where_it_branches_and_is_walked_by_keyboard(
    browser: Chrome, page: Path
) -> None:
    opened(browser, page)
    box = browser.find_element(By.CSS_SELECTOR, ".flame")
    start = box.find_element(By.CSS_SELECTOR, "button[tabindex='0']")
    browser.execute_script("arguments[0].focus()", start)
    assert flame_tells(browser) == "main: 1 µs, 100.0% of all"
    press(browser, Keys.ARROW_DOWN)
    assert flame_tells(browser) == f"{EVIL}: 700 ns, 70.0% of all, 100 ns of it itself"
    press(browser, Keys.ARROW_RIGHT)
    assert flame_tells(browser).startswith("backward: 300 ns, 30.0% of all")
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    assert flame_tells(browser).startswith("aten::mm: 600 ns")
    press(browser, Keys.ENTER)
    wide = [button.size["width"] for button in box.find_elements(By.CSS_SELECTOR, "button")]
    assert max(wide) - min(wide) < 2  # the frame and its callers are as wide as the figure
    press(browser, Keys.ESCAPE)
    assert flame_tells(browser).startswith(EVIL)
    press(browser, Keys.HOME)
    assert flame_tells(browser).startswith("all: 1 µs")
    assert len(box.find_elements(By.CSS_SELECTOR, "button[tabindex='0']")) == 1


def test_the_flame_graph_is_searched(browser: Chrome, page: Path) -> None:
    opened(browser, page)
    browser.find_element(By.CSS_SELECTOR, ".tools input").send_keys("BACK")
    found = browser.find_elements(By.CSS_SELECTOR, ".flame .found")
    assert [button.text for button in found] == ["backward"]


def test_the_values_of_a_figure_are_there_as_a_table(browser: Chrome, page: Path) -> None:
    opened(browser, page)
    details = browser.find_element(By.CSS_SELECTOR, "figure details")
    details.find_element(By.TAG_NAME, "summary").click()
    cells = details.find_elements(By.TAG_NAME, "td")
    assert [cell.text for cell in cells] == ["step 1", "70 ns", "30 ns", EVIL, "10 ns", "–"]


def test_a_bar_tells_its_value_at_the_pointer(browser: Chrome, page: Path) -> None:
    opened(browser, page)
    bar = browser.find_element(By.CSS_SELECTOR, "figure svg rect")
    ActionChains(browser).move_to_element(bar).perform()
    assert browser.find_element(By.ID, "tip").text == "step 1\ncompute: 70 ns (70.0%)"
