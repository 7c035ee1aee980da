# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from bundle.metrics.score_text import Spread, format_score, image_title, metric_title, whole_and_head


@pytest.mark.parametrize(
    ("image", "title"),
    [
        ("low_res", "LR"),
        ("super_res", "SR"),
        ("super_res_dc", "SR + DC"),
        ("high_res", "HR"),
        ("reference", "reference"),
    ],
)
def test_images_have_short_titles(image: str, title: str) -> None:
    assert image_title(image) == title


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("psnr", "PSNR 5.06"),
        ("ssim", "SSIM 5.058"),
        ("ifc", "IFC 5.058"),
        ("psnr_head", "PSNR in the head 5.06"),
        ("ssim_head", "SSIM in the head 5.058"),
    ],
)
def test_scores_have_the_digits_that_tell_them_apart(metric: str, text: str) -> None:
    assert f"{metric_title(metric)} {format_score(metric, 5.0581)}" == text


def test_scores_inside_the_head_are_told_from_those_of_whole_slices() -> None:
    assert whole_and_head(["psnr", "psnr_head", "ifc", "ssim_head"]) == (["psnr", "ifc"], ["psnr_head", "ssim_head"])


def test_a_difference_of_scores_may_have_a_sign_and_more_digits() -> None:
    assert format_score("ssim", -0.00042, "+", more_digits=1) == "-0.0004"
    assert format_score("psnr", 0.288, "+", more_digits=1) == "+0.288"


def test_spread_is_the_mean_and_the_sample_standard_deviation() -> None:
    assert Spread.of([1.0, 2.0, math.nan, 6.0]) == Spread(3.0, pytest.approx(math.sqrt(7)), 3)


@pytest.mark.parametrize(("values", "n"), [([], 0), ([5.0], 1)])
def test_spread_of_too_few_values_is_undefined(values: list[float], n: int) -> None:
    spread = Spread.of(values)
    assert spread.n == n
    assert math.isnan(spread.sd)
    assert math.isnan(spread.mean) == (n == 0)


def test_cells_show_mean_and_spread_and_what_is_missing() -> None:
    assert Spread.of([30, 32]).text("psnr") == "31.00 ± 1.41"
    assert Spread.of([30, 32]).text("ssim", "+") == "+31.000 ± 1.414"
    assert Spread.of([30]).text("psnr") == "30.00"
    assert Spread.of([]).text("psnr") == "n/a"
