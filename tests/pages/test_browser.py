# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser, where there is one: what their scripts do."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.pages import batch_page, case_page

pytestmark = pytest.mark.long


@pytest.fixture
def run_in_browser(tmp_path: Path) -> Callable[..., str]:
    """Return a function that opens a page, runs a script in it and returns the page's elements as they are then."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no browser")

    def run(page: str, script: str, width: int = 1200) -> str:
        watch = "<script>addEventListener('error', (e) => { document.body.dataset.error = e.message; });</script>"
        act = f"<script>addEventListener('load', () => {{ {script} }});</script>"
        path = tmp_path / "page.html"
        path.write_text(page.replace("<body", watch + "<body", 1).replace("</body>", act + "</body>"), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
        command += [f"--window-size={width},1000", "--dump-dom"]
        done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
        assert "data-error" not in done.stdout
        return done.stdout

    return run


def test_slider_moves_and_pictures_enlarge(images, origin, parse, run_in_browser) -> None:
    script = """
        const slider = document.querySelector('.compare input');
        slider.value = 30;
        slider.dispatchEvent(new Event('input', {bubbles: true}));
        document.querySelectorAll('.tile button')[2].click();
        document.body.dataset.pictures = [...document.images].filter((image) => image.naturalWidth > 1).length;
    """
    parsed = parse(run_in_browser(case_page(Case("x"), images, origin), script))
    cuts = [frame["style"] for frame in parsed.all("div", **{"class": "frame zoomed"}) if "style" in frame]
    assert [cut.replace(" ", "").strip(";") for cut in cuts] == ["--cut:30%", "--cut:50%", "--cut:50%"]
    assert "open" in parsed.all("dialog")[0]
    assert parsed.text("dialog")[0].split()[0] == "Output"
    assert parsed.all("body")[0]["data-pictures"] == str(3 * 12 + 1)  # with the enlarged one


def test_zoom_and_window_change_all_pictures_and_reset_undoes_it(images, origin, parse, run_in_browser) -> None:
    script = """
        for (const [name, value] of [['zoom', 3], ['brightness', 2]]) {
          const tool = document.querySelector(`[name=${name}]`);
          tool.value = value;
          tool.dispatchEvent(new Event('input', {bubbles: true}));
        }
        const shown = () => [...document.querySelectorAll('.zoomed img:not(.outlines)')]
          .map((image) => getComputedStyle(image)).map((style) => style.transform + style.filter);
        const outlines = () => getComputedStyle(document.querySelector('.outlines')).display;
        setTimeout(() => {
          document.body.dataset.shown = [...new Set(shown())].join(';');
          document.body.dataset.before = outlines();
          document.querySelector('#outlines').click();
          document.body.dataset.after = outlines();
          document.querySelector('[type=reset]').click();
          setTimeout(() => { document.body.dataset.reset = [...new Set(shown())].join(';'); }, 50);
        }, 50);
    """
    (body,) = parse(run_in_browser(case_page(Case("x"), images, origin), script)).all("body")
    assert body["data-shown"] == "matrix(3, 0, 0, 3, 0, 0)brightness(2) contrast(1)"
    assert body["data-reset"] == "matrix(1, 0, 0, 1, 0, 0)brightness(1) contrast(1)"
    assert (body["data-before"], body["data-after"] == "none") == ("none", False)


@pytest.mark.parametrize("width", [500, 800, 1400])
def test_no_page_is_wider_than_the_window(width, images, origin, parse, run_in_browser) -> None:
    long = "/a/very/long/path/" + "sub-01_ses-2_acq-highres_" * 4 + "T1w.nii.gz: it lies off."
    case = Case("sub-01_ses-2_acq-highres_run-01_desc-long", doubts=[(Doubt.REGISTERED, long)])
    case.seconds["network"], case.measured["interval"] = 3.0, {"typical": 0.02, "widest": 0.1}
    entry = {"case": str(case), "status": "done", **case.told(), "facts": case.facts()}
    script = """
        for (const part of document.querySelectorAll('details')) part.open = true;
        document.body.dataset.width = document.documentElement.scrollWidth;
        document.body.dataset.inner = innerWidth;
    """
    for page in (case_page(case, images, origin), batch_page([entry] * 3, datetime(2026, 1, 1, tzinfo=UTC))):
        (body,) = parse(run_in_browser(page, script, width)).all("body")
        assert int(body["data-width"]) <= int(body["data-inner"])


def test_verdicts_choose_the_cases_that_are_shown(parse, run_in_browser) -> None:
    cases = [{"case": "a", "status": "failed", "reason": "odd."}, {"case": "b", "status": "done"}]
    click = "document.querySelector('[data-verdict=fine]').click();"
    for clicks, hidden in ((1, [True, False]), (2, [False, False])):
        page = run_in_browser(batch_page(cases, datetime(2026, 1, 1, tzinfo=UTC)), click * clicks)
        assert ["hidden" in row for row in parse(page).all("tr")[1:]] == hidden


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
