# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.case import Case
from bundle.errors import printable
from bundle.pages import batch_page, case_page, save_batch_page
from bundle.pages.fact_text import sentence_text
from bundle.pages.template import save_page

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_characters="\r\0"), min_size=1)
PICTURE = "data:image/webp;base64,AAAA"


def case(name: str, status: str = "done", *warnings: str, **facts: dict[str, Any]) -> dict[str, Any]:
    return {"case": name, "status": status, "warnings": list(warnings), "facts": facts}


CASES = [
    case("sub-02", "done", low_res={"factor": [4.0, 3.0]}, time={"seconds": 71.9}),
    case("sub-05", "done", "the reference moved 6 mm.", "look.", registration={"shift_mm": 6.2}),
    case("sub-04", "skipped"),
    case("sub-03", "failed") | {"reason": "/in/sub-03.nii: the file is empty."},
    case("sub-01", "done", "/in/sub-01_T1w.nii: it may be of another patient.", "grid.")
    | {"verdict": "do not use", "headline": "The reference may be of another patient."},
]


def cells(parsed, row: int) -> list[str]:
    """The texts of a row of the table, without its name."""
    n_columns = len(parsed.all("td")) // (len(parsed.all("tr")) - 1)
    return [text.strip() for text in parsed.text("td")[row * n_columns : (row + 1) * n_columns]]


def test_the_gravest_verdicts_come_first_and_say_why_in_a_few_words(parse) -> None:
    parsed = parse(batch_page(CASES, MADE))
    names = [text.split()[0] for text in parsed.text("th") if text.startswith("sub-")]
    assert names == ["sub-01", "sub-03", "sub-05", "sub-02", "sub-04"]
    assert cells(parsed, 0)[0].split("\n")[:2] == ["do not use", "The reference may be of another patient."]
    assert cells(parsed, 1)[0].split("\n") == ["failed", "sub-03.nii: the file is empty."]
    assert cells(parsed, 2)[0].split("\n")[:2] == ["look", "The reference moved 6 mm."]
    assert cells(parsed, 4)[0] == "fine"
    assert "sub-04 done before" in parsed.text("th")


def test_remarks_are_folded_and_name_files_without_their_folders(parse) -> None:
    parsed = parse(batch_page(CASES, MADE))
    assert parsed.text("summary") == ["2 remarks", "2 remarks"]
    assert not any("open" in details for details in parsed.all("details"))
    assert "sub-01_T1w.nii: it may be of another patient." in parsed.text("li")
    assert "/in/" not in batch_page(CASES, MADE)


def test_what_is_passed_over_is_folded_below_the_cases_by_its_reason(parse) -> None:
    names = {"no target takes it as reference": ["/in/sub-09_T1w.nii.gz", "/in/<b>.nii"], "a result": ["/in/x.nii.gz"]}
    page = batch_page(CASES, MADE, passed_over=names)
    parsed = parse(page)
    assert "3 files or series passed over" in parsed.text("summary")
    assert "no target takes it as reference: sub-09_T1w.nii.gz, <b>.nii" in parsed.text("li")
    assert "/in/" not in page
    assert "passed over" not in batch_page(CASES, MADE)


def test_numbers_have_a_column_where_any_case_has_them(parse) -> None:
    parsed = parse(batch_page(CASES, MADE))
    headings = [text.replace("\N{SOFT HYPHEN}", "") for text in parsed.text("th") if not text.startswith("sub-")]
    assert headings == ["Case", "Verdict", "Factor", "Shift of the reference", "Time"]
    assert cells(parsed, 2)[1:] == ["", "6.2 mm", ""]
    assert cells(parsed, 3)[1:] == ["4 \N{MULTIPLICATION SIGN} 3", "", "71.9 s"]
    assert parsed.all("td", **{"data-value": "71.9"})
    assert parsed.all("td", **{"data-value": "4.0"})


def test_totals_count_every_verdict(parse) -> None:
    totals = [text.strip() for text in parse(batch_page(CASES, MADE)).text("li")[:4]]
    assert totals == ["1 do not use", "1 failed", "1 look", "2 fine"]
    assert parse(batch_page(CASES[:1], MADE)).text("li") == ["1 fine"]


def test_every_column_but_pictures_sorts_by_a_button(parse) -> None:
    parsed = parse(batch_page(CASES, MADE, thumbnails={"sub-05": PICTURE}))
    names = ["Case", "Verdict", "Factor", "Shift of the reference", "Time"]
    assert parsed.text("button")[4:] == names
    assert parsed.all("th", **{"aria-sort": "ascending"})
    assert parsed.all("input", type="search", id="filter")
    assert parsed.all("label", **{"for": "filter"})


def test_batch_page_fetches_nothing(parse) -> None:
    page = batch_page(CASES, MADE, {"sub-05": "sub-05_sr.html"}, {"sub-05": PICTURE})
    assert parse(page).addresses() == [PICTURE, "sub-05_sr.html"]
    assert "://" not in page
    assert "default-src 'none'" in page


def test_page_of_no_cases_is_a_page(parse) -> None:
    assert parse(batch_page([], MADE)).text("h1") == ["0 cases"]


@settings(max_examples=30, deadline=None)
@given(name=ANY_TEXT, reason=ANY_TEXT, warning=ANY_TEXT, status=ANY_TEXT, headline=ANY_TEXT)
def test_text_from_outside_stays_text(parse, name, reason, warning, status, headline) -> None:
    def page(*texts: str):
        name, reason, warning, status, headline = texts
        told = {"reason": reason, "headline": headline, "verdict": headline}
        return parse(batch_page([case(name, status, warning) | told], MADE))

    parsed, plain = page(name, reason, warning, status, headline), page("x", "x", "x", "x", "x")
    assert parsed.tags == plain.tags
    assert printable(name) in parsed.text("th")
    assert parsed.text("p")[1].casefold() == printable(sentence_text(reason)).casefold()
    assert parsed.text("li")[-1].casefold() == printable(sentence_text(warning)).casefold()


@pytest.mark.parametrize(
    ("status", "warnings", "tone"),
    [("failed", [], "bad"), ("waiting", [], "warn"), ("done", ["look."], "warn"), ("done", [], "good")],
)
def test_verdict_looks_as_serious_as_it_is(parse, status, warnings, tone) -> None:
    parsed = parse(batch_page([case("x", status, *warnings)], MADE))
    assert parsed.all("span", **{"class": f"status {tone}"})


@pytest.mark.parametrize("name", ["a b", "sub#1", "50%", "x?y=z&w", "é\N{CJK UNIFIED IDEOGRAPH-4E00}", '"<b>', "a:b"])
def test_links_lead_to_the_pages_of_the_cases_whatever_their_names(tmp_path: Path, parse, name) -> None:
    (tmp_path / "deep er").mkdir()
    (tmp_path / "deep er" / f"{name}.html").touch()
    path = save_batch_page(tmp_path / "index.html", [case("x") | {"output": f"deep er/{name}.nii.gz"}])
    (link,) = parse(path.read_text(encoding="utf-8")).all("a")
    assert ":" not in link["href"]
    assert (tmp_path / unquote(link["href"])).is_file()


def test_output_may_be_named_in_full_or_not_at_all(tmp_path: Path, parse) -> None:
    for name in ("a.v2", "sub-02_sr"):
        (tmp_path / f"{name}.html").touch()
    cases = [case("sub-01") | {"output": str(tmp_path / "a.v2.nii")}, case("sub-02"), case("sub-03")]
    parsed = parse(save_batch_page(tmp_path / "index.html", cases).read_text(encoding="utf-8"))
    assert [link["href"] for link in parsed.all("a")] == ["a.v2.html", "sub-02_sr.html"]


def test_thumbnails_come_from_the_pages_of_the_cases(tmp_path: Path, images, origin, parse, picture_of) -> None:
    save_page(tmp_path / "sub-01_sr.html", case_page(Case("sub-01"), images, origin))
    (tmp_path / "sub-02_sr.html").write_text('<meta name="thumbnail" content="data:image/webp;base64,&quot;&gt;">')
    path = save_batch_page(tmp_path / "index.html", [case("sub-01"), case("sub-02")])
    (picture,) = parse(path.read_text(encoding="utf-8")).all("img")
    assert picture_of(picture["src"]).height == 96
    assert picture["alt"] == "Input and output of sub-01."


def test_page_of_500_cases_is_below_five_megabytes_and_larger_ones_have_no_pictures(
    tmp_path: Path, images, origin, parse
) -> None:
    save_page(tmp_path / "x.html", case_page(Case("x"), images, origin))
    many = [case(f"sub-{i:03}", "done", "a warning. " * 20) | {"output": "x"} for i in range(500)]
    path = save_batch_page(tmp_path / "index.html", many)
    assert path.read_text(encoding="utf-8").count("data:image") == 500
    assert path.stat().st_size < 5e6
    save_batch_page(path, [*many, case("one more")])
    page = path.read_text(encoding="utf-8")
    assert "data:image" not in page
    assert len(parse(page).all("a")) == 500
