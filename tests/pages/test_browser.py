# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser, where there is one: what their scripts do."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bundle.case import Case
from bundle.pages import batch_page, case_page

pytestmark = pytest.mark.long


@pytest.fixture
def run_in_browser(tmp_path: Path) -> Callable[[str, str], str]:
    """Return a function that opens a page, runs a script in it and returns the page's elements as they are then."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no browser")

    def run(page: str, script: str) -> str:
        watch = "<script>addEventListener('error', (e) => { document.body.dataset.error = e.message; });</script>"
        act = f"<script>addEventListener('load', () => {{ {script} }});</script>"
        path = tmp_path / "page.html"
        path.write_text(page.replace("<body", watch + "<body", 1).replace("</body>", act + "</body>"), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
        done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
        assert "data-error" not in done.stdout
        return done.stdout

    return run


def test_slider_moves_and_pictures_enlarge(images, origin, parse, run_in_browser) -> None:
    script = """
        const slider = document.querySelector('.compare input');
        slider.value = 30;
        slider.dispatchEvent(new Event('input'));
        document.querySelectorAll('.tile button')[2].click();
        document.body.dataset.pictures = [...document.images].filter((image) => image.naturalWidth > 1).length;
    """
    parsed = parse(run_in_browser(case_page(Case("x"), images, origin), script))
    cuts = [frame["style"] for frame in parsed.all("div", **{"class": "frame"})]
    assert [cut.replace(" ", "").strip(";") for cut in cuts] == ["--cut:30%", "--cut:50%", "--cut:50%"]
    assert "open" in parsed.all("dialog")[0]
    assert parsed.text("dialog")[0].split()[0] == "Reference"
    assert parsed.all("body")[0]["data-pictures"] == str(3 * 12 + 2)  # with the enlarged one and its outlines


def test_table_sorts_both_ways_with_missing_numbers_last_and_filters(parse, run_in_browser) -> None:
    seconds = {"b": 9.5, "c": 100.0, "d": 20.0}
    cases = [{"case": "a", "status": "failed", "reason": "odd file."}]
    cases += [{"case": case, "status": "done", "facts": {"time": {"seconds": s}}} for case, s in seconds.items()]
    page = batch_page(cases, datetime(2026, 1, 1, tzinfo=UTC))

    def order(script: str, visible: bool = False) -> str:
        parsed = parse(run_in_browser(page, script))
        shown = parsed.all("tr")[1:]
        names = [text for text in parsed.text("th") if len(text) == 1]
        return "".join(n for n, row in zip(names, shown, strict=True) if not (visible and "hidden" in row))

    click = "[...document.querySelectorAll('th button')].at(-1).click();"
    assert order(click) == "bdca"
    assert order(click + click) == "cdba"
    words = (
        "const box = document.querySelector('#filter'); box.value = 'FILE odd'; box.dispatchEvent(new Event('input'));"
    )
    assert order(words, visible=True) == "a"
