"""The page in Chromium, as a reader has it: answer above the fold, sorting, charts with their
tables, keyboard, accessibility, phone and desktop.

Needs chromium with its driver and selenium: see tests/builders/browser.py.
"""

from pathlib import Path
from typing import Any

import pytest
from browser import press, texts, to, to_gallery, unfold, wait

from harness import report
from harness.core import registry
from harness.pipeline.workspace import DATASETS

SET = "cifar100-lt"
AXE = Path(__file__).parent / "axe" / "axe.min.js"
SIZES = [(1280, 720), (390, 844)]
TALL = 8000  # pixels of the page as it opens, at most


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the project's own records of all data sets."""
    home = tmp_path_factory.mktemp("reference")
    out = home / "report.html"
    names = registry.names(DATASETS)
    report.write(out, report.make(report.workspaces("mini", home, names), pictures=1))
    return out


def test_opens_without_a_word_and_without_the_network(opened: Any, small_page: Path) -> None:
    driver = opened()
    wait(driver, "document.documentElement.dataset.ready")
    unfold(driver)
    for name in ("groups", "classes", "curricula", "scores", "gallery"):
        to(driver, f"{SET}-{name}")
        wait(driver, "document.readyState === 'complete'")
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    requests = [
        e["message"] for e in driver.get_log("performance") if "requestWillBeSent" in e["message"]
    ]
    assert requests
    assert not any('"url":"http' in message for message in requests)
    assert driver.title.startswith("Does synthetic data help?")  # no class name ran


def test_every_chart_is_drawn(opened: Any) -> None:
    driver = opened()
    unfold(driver)
    charts = driver.execute_script("return document.querySelectorAll('[data-figure]').length")
    assert charts > 8
    drawn = "[...document.querySelectorAll('[data-figure]')].every((n) => n.querySelector('svg g'))"
    assert wait(driver, drawn)
    shapes = (
        "[...document.querySelectorAll('[data-figure]')].map((n) => n.querySelectorAll("
        "'svg[width] circle, svg[width] path, svg[width] rect').length)"
    )
    assert min(driver.execute_script(f"return {shapes}")) > 0
    text = driver.execute_script("return document.getElementById('main').innerText")
    assert "NaN" not in text
    assert "undefined" not in text
    assert driver.get_log("browser") == []


def test_every_chart_has_its_table(opened: Any) -> None:
    driver = opened()
    unfold(driver)
    script = """
        document.querySelectorAll("details.data").forEach((node) => { node.open = true; });
        const figures = JSON.parse(document.getElementById("figures").textContent);
        return [...document.querySelectorAll("[data-table]")].map((node) =>
          [node.querySelectorAll("tbody tr").length, figures[node.dataset.table].rows.length]);
    """
    driver.execute_script(script)  # tables are filled when the event arrives
    wait(driver, "[...document.querySelectorAll('[data-table]')].every((n) => n.firstChild)")
    sizes = driver.execute_script(script)
    assert sizes
    assert all(lines == rows > 0 for lines, rows in sizes)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_answer_is_above_the_fold(
    open_page: Any, reference: Path, width: int, height: int
) -> None:
    driver = open_page(reference, width, height)
    wait(driver, "document.querySelector('#answer-chart svg[width]')")
    bottom = "document.querySelector('#answer-chart').getBoundingClientRect().bottom"
    assert driver.execute_script(f"return {bottom}") <= height
    top = "document.querySelector('.answer').getBoundingClientRect().top"
    assert 0 <= driver.execute_script(f"return {top}") < height / 3
    dots = driver.execute_script("return document.querySelectorAll('#answer-chart circle').length")
    assert dots >= 20
    assert driver.execute_script("return scrollY") == 0


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_page_is_short_as_it_opens(
    open_page: Any, reference: Path, width: int, height: int
) -> None:
    driver = open_page(reference, width, height)
    wait(driver, "document.querySelector('#answer-chart svg[width]')")
    assert driver.execute_script("return document.documentElement.scrollHeight") <= TALL


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_axe_finds_nothing_serious(opened: Any, width: int, height: int, dark: bool) -> None:
    driver = opened(width, height, dark)
    unfold(driver)
    to_gallery(driver, SET)
    driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})  # past the policy
    script = """
        const done = arguments[0];
        axe.run(document, { resultTypes: ["violations"] }).then((results) => done(
          results.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.html)])),
          (error) => done([["critical", String(error), []]]));
    """
    violations = driver.execute_async_script(script)
    assert [v for v in violations if v[0] in ("serious", "critical")] == []


def keys(driver: Any, *names: str) -> None:
    """Keys pressed one after the other, by their names in selenium."""
    from selenium.webdriver import ActionChains, Keys

    for name in names:
        ActionChains(driver).send_keys(getattr(Keys, name)).perform()


def focused(driver: Any) -> dict[str, str]:
    """What has the keyboard."""
    script = """
        const at = document.activeElement;
        const figure = at.closest("figure")?.querySelector("[data-figure]")?.id ?? "";
        return { tag: at.tagName, text: at.textContent.trim(), kind: at.className, figure,
          part: at.closest("section[id]")?.id ?? "", name: at.getAttribute("aria-label") ?? "" };
    """
    about: dict[str, str] = driver.execute_script(script)
    return about


def tab_to(driver: Any, most: int = 80, **wanted: str) -> dict[str, str]:
    """Presses Tab until something has the keyboard that is so."""
    for _ in range(most):
        keys(driver, "TAB")
        about = focused(driver)
        if all(about[key] == value for key, value in wanted.items()):
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert driver.execute_script(f"return {outline}") != "none"  # it can be seen
            return about
    raise AssertionError(f"{wanted} cannot be reached by Tab, last {about}")


def test_the_keyboard_alone_is_enough(opened: Any) -> None:
    driver = opened()
    wait(driver, "document.documentElement.dataset.ready")
    assert tab_to(driver, 1)["text"] == "To the content"
    tab_to(driver, tag="SUMMARY", figure="answer-chart")
    keys(driver, "ENTER")
    assert wait(driver, "document.querySelector('[data-table=answer-chart] table')")
    tab_to(driver, text="Leaderboards", tag="SUMMARY")
    keys(driver, "ENTER")
    tab_to(driver, text="Method", tag="BUTTON")
    keys(driver, "SPACE")
    assert wait(driver, f"document.querySelector('#{SET}-leaderboards th[aria-sort]')")
    tab_to(driver, text="Class sizes", tag="SUMMARY")
    keys(driver, "ENTER")
    wait(driver, f"document.querySelector('#{SET}-classes .key button')")
    button = tab_to(driver, tag="BUTTON", part=f"{SET}-classes")
    pressed = "document.activeElement.getAttribute('aria-pressed')"
    assert driver.execute_script(f"return {pressed}") == "true"
    keys(driver, "SPACE")
    assert driver.execute_script(f"return {pressed}") == "false"  # it still has the keyboard
    assert focused(driver)["text"] == button["text"]
    tab_to(driver, text="Gallery", tag="SUMMARY")
    keys(driver, "ENTER")
    wait(driver, f"document.querySelector('[data-gallery={SET}]').shown")
    tab_to(driver, name="CLIPScore threshold")
    before = driver.execute_script("return document.querySelector('output.at').value")
    keys(driver, "ARROW_RIGHT")
    assert driver.execute_script("return document.querySelector('output.at').value") != before
    tab_to(driver, name="Next page")
    keys(driver, "ENTER")
    assert texts(driver, ".page") == ["Page 2 of 4"]
    assert driver.get_log("browser") == []


def test_links_and_the_button_unfold(opened: Any) -> None:
    driver = opened()
    open_now = "document.querySelectorAll('details.fold[open]').length"
    assert driver.execute_script(f"return {open_now}") == 0
    press(driver, ".contents a[href='#iwildcam']")
    press(driver, "button.unfold")
    assert texts(driver, "button.unfold") == ["Fold all sections"]
    everything = driver.execute_script("return document.querySelectorAll('details.fold').length")
    assert driver.execute_script(f"return {open_now}") == everything > 10
    press(driver, "button.unfold")
    assert driver.execute_script(f"return {open_now}") == 0
    driver.execute_script(f"location.hash = '{SET}-groups'")
    assert wait(driver, f"document.querySelector('#{SET}-groups > details').open")


def test_charts_follow_the_width(opened: Any) -> None:
    driver = opened()
    width = "Number(document.querySelector('#answer-chart svg[width]')?.getAttribute('width'))"
    wide = wait(driver, width)
    size = {"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert wait(driver, f"{width} < {wide} && {width}") < 700


def test_sorting(opened: Any) -> None:
    driver = opened()
    unfold(driver)
    table = f"#{SET}-leaderboards .scroll table"
    rows = f"{table}:first-of-type tbody"

    def column(k: int) -> list[str]:
        script = (
            "return [...document.querySelector(arguments[0]).rows]"
            ".map((row) => row.cells[arguments[1]].textContent)"
        )
        strings: list[str] = driver.execute_script(script, rows, k)
        return strings

    def click(k: int) -> None:
        script = (
            "document.querySelector(arguments[0])"
            ".querySelectorAll('thead button')[arguments[1]].click()"
        )
        driver.execute_script(script, table, k)

    as_printed = column(0)
    # buttons: Method, Seeds, then ours and the paper's of each column
    for button, cell in ((2, 1), (3, 2), (8, 7)):
        click(button)
        shown = column(cell)
        known = [float(text.split("±")[0].strip("† ")) for text in shown if text[0] not in "·–"]
        assert known == sorted(known, reverse=True)
        assert all(text[0] in "·–" for text in shown[len(known) :])  # nothing there: at the end
        click(button)
        shown = column(cell)
        assert [float(t.split("±")[0].strip("† ")) for t in shown[: len(known)]] == sorted(known)
        click(button)
        assert column(0) == as_printed
    click(0)
    assert column(0) == sorted(as_printed, key=str.lower)
    sorted_by = "return document.querySelector('#main th[aria-sort]').textContent"
    assert "Method" in driver.execute_script(sorted_by)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_sideways_scrolling(opened: Any, dark: bool) -> None:
    driver = opened(390, 844, dark)
    unfold(driver)
    to_gallery(driver, SET)
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
    boxes = driver.execute_script(
        "return [...document.querySelectorAll('.pictures img')]"
        ".map((image) => image.getBoundingClientRect().width)"
    )
    assert min(boxes) > 40  # to be seen
    ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)")
    assert driver.get_log("browser") == []


def test_colours_follow_the_scheme(opened: Any) -> None:
    driver = opened()
    ink = "getComputedStyle(document.querySelector('#answer-chart svg[width]')).color"
    light = wait(driver, f"document.querySelector('#answer-chart svg[width]') && {ink}")
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    assert wait(driver, f"{ink} !== '{light}' && {ink}") == "rgb(154, 166, 180)"
