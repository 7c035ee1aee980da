# SPDX-License-Identifier: Apache-2.0
"""Rows look alike in every plot of a study."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bundle.studies.plots import axis_title, line_styles

# Viénot, Brettel and Mollon 1999: what protanopes and deuteranopes see of linear RGB.
PROTANOPE = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTERANOPE = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def test_style_of_a_row_is_given_by_its_place_in_the_study() -> None:
    styles = line_styles(["SR1", "SR2", "SR3", "SR4"])
    assert list(styles) == ["SR1", "SR2", "SR3", "SR4"]
    assert line_styles(["SR1", "SR2"]) == {label: styles[label] for label in ("SR1", "SR2")}


def test_styles_of_all_rows_differ() -> None:
    styles = list(line_styles([str(number) for number in range(28)]).values())
    assert len({tuple(style.values()) for style in styles}) == 28
    assert len({style["color"] for style in styles[:7]}) == len({style["marker"] for style in styles[:7]}) == 7


@pytest.mark.parametrize("vision", [np.eye(3), PROTANOPE, DEUTERANOPE], ids=["normal", "protan", "deutan"])
def test_colours_of_the_first_rows_differ_to_all_eyes_and_from_white(vision: np.ndarray) -> None:
    colours = [to_rgb(style["color"]) for style in line_styles(list("abcdefg")).values()]
    seen = [np.clip(vision @ np.array(colour) ** 2.2, 0, 1) ** (1 / 2.2) for colour in [*colours, (1, 1, 1)]]
    assert min(np.linalg.norm(first - second) for first, second in combinations(seen, 2)) > 0.14  # markers differ too


def test_more_rows_than_styles_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 29 rows for 28 styles"):
        line_styles([str(number) for number in range(29)])


def test_axes_carry_the_unit_of_a_metric() -> None:
    assert [axis_title(metric) for metric in ("psnr", "ssim", "ifc")] == ["PSNR (dB)", "SSIM", "IFC (bits per pixel)"]
