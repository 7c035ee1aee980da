# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from bundle.drawing.png import save_paletted, save_plot
from bundle.drawing.tile import MARK, MISSING
from bundle.errors import InputError


def saved(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Save an image (rows, columns, 3) in [0, 1] dot by dot and read it back in 0..255."""
    figure = Figure(figsize=(pixels.shape[1] / 180, pixels.shape[0] / 180))
    figure.figimage(pixels)
    save_paletted(figure, path)
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(("colours", "most"), [("gray", 2.1), ("inferno", 5)])
def test_png_keeps_greys_and_error_colours_to_a_few_levels(tmp_path: Path, colours: str, most: float) -> None:
    ramp = np.tile(matplotlib.colormaps[colours](np.arange(256))[None, :, :3], (100, 1, 1))
    error = np.abs(saved(tmp_path / "ramp.png", ramp).astype(float) - 255 * ramp)
    assert error.max() <= most
    assert error.mean() < 1


def test_png_keeps_marks_black_and_white_exactly(tmp_path: Path) -> None:
    colours = [to_rgb(colour) for colour in (MARK, MISSING, "black", "white")]
    pixels = np.tile(np.repeat(colours, 50, axis=0)[None], (100, 1, 1))
    np.testing.assert_array_equal(saved(tmp_path / "marks.png", pixels), np.rint(255 * pixels))


def test_png_states_its_resolution_and_replaces_an_older_file(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("old")
    saved(tmp_path / "page.png", np.zeros((100, 200, 3)))
    with Image.open(tmp_path / "page.png") as image:
        assert image.size == (200, 100)
        assert image.info["dpi"] == pytest.approx((180, 180), abs=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]


@pytest.mark.parametrize("save", [save_paletted, save_plot])
def test_png_names_a_folder_that_cannot_be_written(tmp_path: Path, save) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into this output folder"):
        save(Figure(), tmp_path / "file" / "page.png")


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


@pytest.mark.parametrize("save", [save_paletted, save_plot])
def test_figure_of_another_format_is_refused(tmp_path: Path, save) -> None:
    with pytest.raises(ValueError, match=r"a.jpg is no name of a PNG file"):
        save(figure(), tmp_path / "a.jpg")
