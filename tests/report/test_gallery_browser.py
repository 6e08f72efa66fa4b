"""The gallery in Chromium: pages, seeds, classes and the threshold."""

from typing import Any

import scored_pools
from browser import press, texts, to_gallery, wait

SET = "cifar100-lt"


def test_paging_and_seeds(opened: Any) -> None:
    driver = opened()
    to_gallery(driver, SET)
    assert len(texts(driver, ".pictures .name")) == 12
    shown = "document.querySelectorAll('.pictures img').length"
    assert wait(driver, shown) == 12 * 4  # lazily: those of one page
    assert texts(driver, ".page") == ["Page 1 of 4"]
    first = texts(driver, ".pictures figcaption")
    press(driver, ".on")
    assert texts(driver, ".page") == ["Page 2 of 4"]
    press(driver, ".back")
    assert texts(driver, ".pictures figcaption") == first
    assert texts(driver, ".seed") == ["Seed 10 (1 of 2)"]
    press(driver, ".seed-on")
    assert texts(driver, ".seed") == ["Seed 20 (2 of 2)"]
    assert texts(driver, ".pictures figcaption") != first
    for _ in range(5):
        press(driver, ".on")
    assert texts(driver, ".page") == ["Page 4 of 4"]
    loaded = (
        "[...document.querySelectorAll('.pictures img')].every((i) => i.complete && i.naturalWidth)"
    )
    assert wait(driver, loaded)


def test_a_class_alone(opened: Any) -> None:
    driver = opened()
    to_gallery(driver, SET)
    names = texts(driver, "select.class option")
    assert scored_pools.HOSTILE in names
    script = (
        "const s = document.querySelector('select.class'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'))"
    )
    driver.execute_script(script, str(sorted(scored_pools.CLASSES).index(scored_pools.HOSTILE)))
    assert set(texts(driver, ".pictures .name")) == {scored_pools.HOSTILE}
    assert texts(driver, ".page") == ["Page 1 of 1"]
    assert driver.title != "harmed"


def move(driver: Any, threshold: float) -> None:
    script = (
        "const s = document.querySelector('.threshold'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))"
    )
    driver.execute_script(script, str(threshold))


def test_the_threshold_tells_live_what_it_keeps(opened: Any) -> None:
    """Scores are 0.50, 0.55, ..., 0.85 by level and seed, of 40 sources in 4 classes."""
    driver = opened()
    to_gallery(driver, SET)
    total = ".kept tr.total td"
    assert texts(driver, total) == ["40 / 80", "80 / 80", "80 / 80", "80 / 80", "280 / 320"]
    out = "document.querySelectorAll('.picture.out').length"
    assert driver.execute_script(f"return {out}") == 12  # level 0 of seed 10: 0.50
    move(driver, 0.675)
    assert texts(driver, total) == ["0 / 80", "0 / 80", "80 / 80", "80 / 80", "160 / 320"]
    assert texts(driver, "output.at") == ["0.675"]
    assert driver.execute_script(f"return {out}") == 24
    assert "Guidance 0, text only; 0.3: nothing left" in texts(driver, ".warning")[0]
    assert texts(driver, ".kept tbody tr:nth-child(2) td") == ["0 / 20"] * 2 + ["20 / 20"] * 2 + [
        "40 / 80"
    ]
    move(driver, 0.4)
    assert driver.execute_script(f"return {out}") == 0
    assert texts(driver, total)[-1] == "320 / 320"
    assert texts(driver, ".warning") == [""]


def test_what_is_kept_can_be_searched(opened: Any) -> None:
    driver = opened()
    to_gallery(driver, SET)
    assert len(texts(driver, ".kept tbody th")) == 5
    script = (
        "const s = document.querySelector('.filter'); s.value = 'OLF';"
        "s.dispatchEvent(new Event('input'))"
    )
    driver.execute_script(script)
    assert texts(driver, ".kept tbody th") == ["All classes", "wolf"]
