# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.drawing.case_slices import CaseSlices
from bundle.errors import printable
from bundle.keys import HIGH_RES, INTERVAL, REFERENCE
from bundle.pages import Origin, case_page
from bundle.pages.fact_text import sentence_text
from bundle.pages.template import save_page

HOSTILE = "<script>alert('1')</script> & \"x\"=`y`\n{{ 7 * 7 }} \x1b[2J\u202e é \N{CJK UNIFIED IDEOGRAPH-4E00}"
ANY_TEXT = st.text(st.characters(exclude_characters="\r\0"), min_size=1)


def record(*warnings: str, case: str = "sub-01") -> Case:
    facts = {"low_res": {"factor": 4.0}, "registration": {"shift_mm": 1.25, "method": "rigid"}}
    return Case(case, doubts=[(Doubt.NOISE, warning) for warning in warnings], measured=facts)


def test_page_fetches_nothing_and_follows_nothing(images, origin, parse) -> None:
    page = case_page(record("look."), images, origin)
    parsed = parse(page)
    assert parsed.addresses()
    assert all(address.startswith(("data:image/webp;base64,", "#")) for address in parsed.addresses())
    assert not parsed.all("link")
    without_pictures = re.sub(r"data:image/webp;base64,[^\"]*", "", page)
    assert "://" not in without_pictures
    assert "url(" not in without_pictures
    assert "@import" not in without_pictures


def test_browsers_are_told_to_fetch_nothing(images, origin, parse) -> None:
    (policy,) = parse(case_page(record(), images, origin)).all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


def test_every_picture_decodes_at_its_size_and_is_described(images, origin, parse, picture_of) -> None:
    parsed = parse(case_page(record(), images, origin))
    pictures = parsed.all("img")
    assert len(pictures) == 3 * (2 + 8 + 2)  # slider, tiles, outlines
    assert all(picture["alt"].strip() for picture in pictures)
    sizes = {picture_of(picture["src"]).size for picture in pictures if "frequency" not in picture["alt"]}
    assert len(sizes) == 1
    _, rows, columns = images.images[HIGH_RES].shape
    k_space = {picture_of(picture["src"]).size for picture in pictures if "frequency" in picture["alt"]}
    assert k_space == {(columns, rows)}


def test_each_slice_has_a_slider_that_keyboards_reach(images, origin, parse) -> None:
    sliders = parse(case_page(record(), images, origin)).all("input", type="range", min="0")
    assert [slider["aria-label"].split(":")[0] for slider in sliders] == ["Slice 4", "Slice 7", "Slice 9"]
    assert all((slider["min"], slider["max"], slider["value"]) == ("0", "100", "50") for slider in sliders)
    assert not any("tabindex" in slider for slider in sliders)


def test_enlarging_is_a_button_with_a_name(images, origin, parse) -> None:
    parsed = parse(case_page(record(), images, origin))
    assert len(parsed.all("button", type="button")) == 3 * 7
    assert all("Enlarge." in text for text in parsed.text("button")[1:])
    assert len(parsed.all("dialog")) == 1


def test_pixels_are_shown_in_the_proportions_of_voxels(images, origin, parse, picture_of) -> None:
    parsed = parse(case_page(record(), images, origin))
    (body,) = parsed.all("body")
    ratio = float(re.search(r"--ratio: ([0-9.]+)", body["style"])[1])
    width, height = picture_of(parsed.all("img")[0]["src"]).size
    assert ratio == pytest.approx(width * 0.5 / (height * 0.8), rel=1e-3)


def test_sides_of_the_patient_are_written_at_the_edges(images, origin, parse) -> None:
    page = case_page(record(), images, origin)
    assert page.count('<span class="side left" aria-hidden="true">R</span>') == 3 * (1 + 7)  # not on k-space
    assert page.count('<span class="side top" aria-hidden="true">A</span>') == 3 * (1 + 7)


def test_verdict_stands_first_in_a_few_words_with_all_remarks_folded(images, origin, parse) -> None:
    case = Case("x", doubts=[(Doubt.NOISE, "Noise is high."), (Doubt.OTHER_PATIENT, "/in/T1.nii: it is odd.")])
    page = case_page(case, images, origin)
    assert "<strong>Do not use.</strong> The reference may be of another patient." in page
    parsed = parse(page)
    assert parsed.all("div", **{"class": "verdict bad"})
    assert parsed.text("summary")[0] == "2 remarks"
    assert not any("open" in details for details in parsed.all("details"))
    assert parsed.text("li") == ["T1.nii: it is odd.", "Noise is high."]
    assert page.index("<strong>") < page.index("<li>") < page.index('type="range" ')
    assert "<strong>Look.</strong> There is more noise" in case_page(record("one."), images, origin)
    assert "<strong>Fine.</strong> Nothing was noticed." in case_page(record(), images, origin)


def test_outlines_are_off_and_the_way_back_is_there(images, origin, parse) -> None:
    parsed = parse(case_page(record(), images, origin._replace(batch="../../index.html")))
    (box,) = parsed.all("input", id="outlines")
    assert "checked" not in box
    assert parsed.all("a")[0]["href"] == "../../index.html"
    assert "All cases" not in case_page(record(), images, origin)


def test_page_says_where_the_output_comes_from_and_what_it_is_for(images, origin, parse) -> None:
    parsed = parse(case_page(record(), images, origin))
    assert parsed.text("h1") == ["sub-01"]
    shown = dict(zip(parsed.text("dt"), parsed.text("dd"), strict=True))
    assert shown["Input"] == "sub-01_T2w.nii.gz"
    assert shown["Reference"] == "sub-01_T1w.nii.gz"
    assert shown["Weights"] == "model.pt"
    assert shown["Version"] == "1.2.3"
    assert shown["Made"] == "2026-01-02 03:04 UTC"
    assert "For research only. Not a medical device" in parsed.text("footer")[0]


def test_numbers_stand_in_labelled_rows_with_units(images, origin, parse) -> None:
    parsed = parse(case_page(record(), images, origin))
    rows = dict(zip(parsed.text("th"), parsed.text("td"), strict=True))
    assert rows["Factor"] == "4"
    assert rows["Found shifted by"] == "1.25 mm"
    assert rows["PSNR of the output"].endswith(" dB")
    assert float(rows["PSNR of the output"][:-3]) > float(rows["PSNR of the input"][:-3])


def test_page_without_reference_truth_and_interval_says_nothing_of_them(images, origin, parse) -> None:
    few = {k: v for k, v in images.images.items() if k not in (HIGH_RES, REFERENCE, INTERVAL)}
    page = case_page(Case("x"), replace(images, images=few, n_measured=None), origin)
    parsed = parse(page)
    assert not parsed.all("input", id="outlines")
    assert parsed.text("dt")[-3:] == ["Slices", "Difference", "K-space residual"]
    assert parsed.text("summary") == [*["More pictures of this slice"] * 3, "How to read the pictures"]


def test_thumbnail_stands_at_the_head_of_the_page(images, origin, parse, picture_of) -> None:
    page = case_page(record(), images, origin)
    (thumbnail,) = parse(page).all("meta", name="thumbnail")
    assert page.index(thumbnail["content"]) < 1000
    picture = picture_of(thumbnail["content"])
    assert picture.height == 96
    assert len(thumbnail["content"]) < 10_000


@settings(max_examples=15, deadline=None)
@given(case=ANY_TEXT, warning=ANY_TEXT, name=ANY_TEXT, value=ANY_TEXT)
def test_text_from_outside_stays_text(parse, case, warning, name, value) -> None:
    small = {key: np.eye(8, dtype=np.float32)[..., None] for key in ("low_res", "pred")}
    images = CaseSlices.of(small, np.eye(4), [0])
    origin = Origin({"Input": name}, "1", datetime(2026, 1, 1, tzinfo=UTC))
    parsed = parse(
        case_page(Case(case, doubts=[(Doubt.NOISE, warning)], measured={"input": {"name": value}}), images, origin)
    )
    plain = parse(
        case_page(
            Case("x", doubts=[(Doubt.NOISE, "x")], measured={"input": {"name": "x"}}),
            images,
            origin._replace(files={"Input": "x"}),
        )
    )
    assert parsed.tags == plain.tags
    assert parsed.text("h1") == [printable(case)]
    assert parsed.text("li")[0].casefold() == printable(sentence_text(warning)).casefold()
    assert parsed.text("dd")[0] == printable(name)
    assert parsed.text("td")[0] == printable(value)


def test_hostile_names_are_shown_as_they_are(images, parse) -> None:
    origin = Origin({"Input": HOSTILE}, "1", datetime(2026, 1, 1, tzinfo=UTC))
    parsed = parse(case_page(record(HOSTILE, case=HOSTILE), images, origin))
    assert len(parsed.all("script")) == 1
    shown = HOSTILE.replace("\n", r"\n").replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    assert parsed.text("h1") == [shown]
    assert parsed.text("li") == [shown]
    assert parsed.text("dd")[0] == shown


def test_saved_page_is_utf8_and_names_that_are_not_text_do_no_harm(tmp_path: Path, images, origin, parse) -> None:
    page = case_page(record(case="caf\N{LATIN SMALL LETTER E WITH ACUTE}\udcff"), images, origin)
    path = save_page(tmp_path / "new" / "page.html", page)
    assert parse(path.read_text(encoding="utf-8")).text("h1") == ["caf\N{LATIN SMALL LETTER E WITH ACUTE}\\udcff"]
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_page_of_a_large_matrix_stays_below_two_megabytes(origin) -> None:
    random = np.random.default_rng(0)
    texture = gaussian_filter(random.random((900, 800, 3), dtype=np.float32), (3, 3, 0))  # all over the matrix
    volumes = dict.fromkeys(("pred", "reference", "high_res", "interval"), texture)
    volumes["low_res"] = gaussian_filter(texture, (4, 4, 0))
    assert len(case_page(record(), CaseSlices.of(volumes, np.eye(4), [1, 2, 3]), origin)) < 2e6
