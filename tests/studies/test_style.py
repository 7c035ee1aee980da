# SPDX-License-Identifier: Apache-2.0
"""Rows look alike in every plot of a study, and plots are files that can be compared."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from bundle.errors import InputError
from bundle.studies.style import axis_title, line_styles, save_plot

# Viénot, Brettel and Mollon 1999: what protanopes and deuteranopes see of linear RGB.
PROTANOPE = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTERANOPE = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def test_style_of_a_row_is_given_by_its_place_in_the_study() -> None:
    styles = line_styles(["SR1", "SR2", "SR3", "SR4"])
    assert list(styles) == ["SR1", "SR2", "SR3", "SR4"]
    assert line_styles(["SR1", "SR2"]) == {label: styles[label] for label in ("SR1", "SR2")}


def test_styles_of_all_rows_differ() -> None:
    styles = list(line_styles([str(number) for number in range(28)]).values())
    assert len(set(styles)) == 28
    assert len({style.colour for style in styles[:7]}) == len({style.marker for style in styles[:7]}) == 7


@pytest.mark.parametrize("vision", [np.eye(3), PROTANOPE, DEUTERANOPE], ids=["normal", "protan", "deutan"])
def test_colours_of_the_first_rows_differ_to_all_eyes_and_from_white(vision: np.ndarray) -> None:
    colours = [to_rgb(style.colour) for style in line_styles(list("abcdefg")).values()]
    seen = [np.clip(vision @ np.array(colour) ** 2.2, 0, 1) ** (1 / 2.2) for colour in [*colours, (1, 1, 1)]]
    assert min(np.linalg.norm(first - second) for first, second in combinations(seen, 2)) > 0.14  # markers differ too


def test_more_rows_than_styles_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 29 rows for 28 styles"):
        line_styles([str(number) for number in range(29)])


def test_axes_carry_the_unit_of_a_metric() -> None:
    assert [axis_title(metric) for metric in ("psnr", "ssim", "ifc")] == ["PSNR (dB)", "SSIM", "IFC (bits per pixel)"]


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([1, 2], [3, 1])
    return drawn


def test_plot_is_the_same_white_png_each_time(tmp_path: Path) -> None:
    first, second = (save_plot(figure(), tmp_path / "new" / name) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.size == (300, 150)
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert len(list(first.parent.iterdir())) == 2


def test_plot_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.jpg is no name of a PNG file"):
        save_plot(figure(), tmp_path / "a.jpg")


def test_plot_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write into this output folder"):
        save_plot(figure(), tmp_path / "file" / "a.png")
