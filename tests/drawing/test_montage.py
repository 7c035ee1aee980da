# SPDX-License-Identifier: Apache-2.0
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bundle.drawing.case_slices import CaseSlices, Scores
from bundle.drawing.montage import MontageColumn, save_montage
from bundle.drawing.slice_choice import error_limit
from bundle.drawing.tile import ERRORS, GREY, MARK, MISSING
from bundle.errors import InputError

ROWS, COLUMNS = 48, 40


def slices(n: int = 2, reference: bool = True) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    high_res = (0.2 + 0.8 * generator.random((n, ROWS, COLUMNS))).astype(np.float32)
    images = {"low_res": high_res - 0.07, "super_res": high_res + 0.02, "high_res": high_res}
    return images | ({"reference": 5 * generator.random((n, ROWS, COLUMNS))} if reference else {})


def case_of(
    images: dict[str, np.ndarray],
    aspect: float = 1.0,
    indices: Sequence[int] | None = None,
    scores: Sequence[Scores] = (),
) -> CaseSlices:
    n_slices = len(next(iter(images.values())))
    return CaseSlices(images, indices or list(range(n_slices)), aspect, ("R", "A"), scores)


def save(path: Path, case: CaseSlices, title: str = "case", **options: Any) -> Path:
    """Draw a case: every image is compared but the last ones, high-res and reference."""
    columns = [
        MontageColumn(case, name, None if name in ("high_res", "reference") else "high_res") for name in case.images
    ]
    return save_montage(path, columns, title, **options)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_text()]


def test_montage_is_a_small_png_of_the_slices_given(tmp_path: Path) -> None:
    path = save(tmp_path / "new" / "case.png", case_of(slices()))
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width == 1800
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50
    assert path.stat().st_size < 500_000
    assert [file.name for file in path.parent.iterdir()] == ["case.png"]


def test_montage_has_errors_beside_the_images(tmp_path: Path, pages) -> None:
    save(tmp_path / "case.png", case_of(slices(1)))
    assert pages[0].headings == [
        "LR", "SR", "HR", "reference", "|LR \N{MINUS SIGN} HR|", "|SR \N{MINUS SIGN} HR|",
    ]  # fmt: skip
    colours = [tile.scale.colours for tile in pages[0].rows[0].tiles]
    assert colours == [GREY] * 4 + [ERRORS] * 2


def test_montage_shares_the_grey_window_and_the_error_scale(tmp_path: Path, pages) -> None:
    images = slices()
    save(tmp_path / "case.png", case_of(images))
    low_res, super_res, high_res, reference, *errors = pages[0].rows[0].tiles
    brightest = np.percentile(images["high_res"], 99.8)
    for tile in (low_res, super_res, high_res):
        assert (tile.scale.low, tile.scale.high) == (0, pytest.approx(brightest))
    assert reference.scale.high == pytest.approx(np.percentile(images["reference"], 99.8))
    # Errors are 0.07 and 0.02 everywhere: the scale ends at the round number above that of the low-res.
    assert [error.scale.high for error in errors] == [pytest.approx(0.08)] * 2
    np.testing.assert_allclose(errors[0].image, 0.07, atol=1e-6)
    np.testing.assert_allclose(errors[1].image, 0.02, atol=1e-6)


@pytest.mark.parametrize("error", [0.01, 0.5])
def test_pictures_of_one_case_by_different_networks_have_one_error_scale(error, tmp_path: Path, pages) -> None:
    images = slices()
    images["super_res"] = images["high_res"] + error
    save(tmp_path / "case.png", case_of(images))
    assert [tile.scale.high for tile in pages[0].rows[0].tiles[-2:]] == [pytest.approx(0.08)] * 2


def test_montage_takes_a_fixed_error_scale(tmp_path: Path, pages) -> None:
    save(tmp_path / "case.png", case_of(slices(1)), error_end=0.25)
    assert [tile.scale.high for tile in pages[0].rows[0].tiles[-2:]] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("error", "limit"), [(0.1, 0.1), (0.101, 0.15), (0.0999, 0.1), (0.23, 0.3), (0.07, 0.08), (0.0, 1e-6)]
)
def test_error_scale_ends_at_the_next_round_number(error: float, limit: float) -> None:
    assert error_limit([np.full((4, 4), error)]) == pytest.approx(limit)


def test_montage_prints_the_scores_under_the_images_they_name(tmp_path: Path, pages) -> None:
    scores = [
        {
            "low_res": {"psnr": 27.1512, "ssim": 0.79349},
            "super_res": {"psnr": 33.3, "ssim": 0.95, "ifc": 2.7, "psnr_head": 31.0},
        },
        {"low_res": {"psnr": np.inf, "ssim": 1.0}},
    ]
    save(tmp_path / "case.png", case_of(slices(), indices=[3, 9], scores=scores))
    first, second, _ = pages[0].rows
    captions = [tile.caption for tile in first.tiles[:3]]
    assert captions == ["PSNR 27.15   SSIM 0.793", "PSNR 33.30   SSIM 0.950\nIFC 2.700", ""]
    assert second.tiles[0].caption == "PSNR inf   SSIM 1.000"
    expected = {"PSNR 27.15   SSIM 0.793", "slice 3", "slice 9", "slice 9 \N{MULTIPLICATION SIGN} 3"}
    assert expected <= set(texts(pages[0].figure))


def test_montage_writes_title_and_sides_of_the_patient_once(tmp_path: Path, pages) -> None:
    save(tmp_path / "case.png", case_of(slices(2)), "sub-1")
    assert [texts(pages[0].figure).count(text) for text in ("sub-1", "R", "A")] == [1, 1, 1]


def test_montage_zooms_into_the_marked_part_of_the_middle_slice(tmp_path: Path, pages) -> None:
    save(tmp_path / "case.png", case_of(slices(3)))
    first, middle, last, zoomed = pages[0].rows
    assert not any(tile.mark for row in (first, last, zoomed) for tile in row.tiles)
    assert [bool(tile.mark) for tile in middle.tiles] == [True] * 4 + [False] * 2  # none on errors
    mark = middle.tiles[0].mark
    assert mark[2:] == (ROWS // 3, COLUMNS // 3)
    for whole, part in zip(middle.tiles, zoomed.tiles, strict=True):
        np.testing.assert_array_equal(mark.crop(whole.image), part.image)


def test_montage_crops_all_tiles_to_the_tissue_of_all_slices(tmp_path: Path, pages) -> None:
    images = slices(2)
    images["high_res"] = np.zeros((2, ROWS, COLUMNS))
    images["high_res"][0, 15:20, 10:30] = images["high_res"][1, 16:21, 10:30] = 1
    save(tmp_path / "case.png", case_of(images))
    first, second, _ = pages[0].rows
    np.testing.assert_allclose(first.tiles[2].image, images["high_res"][0, 11:25, 6:34])
    np.testing.assert_allclose(second.tiles[0].image, images["low_res"][1, 11:25, 6:34])


@pytest.mark.parametrize("aspect", [0.5, 1.0, 4.0])
def test_montage_draws_pixels_in_their_true_proportion_and_fills_the_tiles(
    tmp_path: Path, pages, aspect: float
) -> None:
    save(tmp_path / "case.png", case_of(slices(1), aspect))
    figure = pages[0].figure
    place = figure.axes[0].get_position()
    height, width = place.height * figure.get_figheight(), place.width * figure.get_figwidth()
    assert height / width == pytest.approx(aspect * ROWS / COLUMNS)
    np.testing.assert_allclose(place.bounds, figure.axes[0].get_position(original=True).bounds, rtol=1e-6)


def test_montage_shows_the_first_row_of_an_array_on_top(tmp_path: Path, pages) -> None:
    image = np.full((1, 30, 30), 0.1)
    image[:, :10] = 1.0
    path = save(tmp_path / "case.png", case_of({"low_res": image, "high_res": image}))
    pixels = np.asarray(Image.open(path).convert("L")).astype(float)
    tile = pages[0].figure.axes[0].get_position()
    left, right = (round(edge * pixels.shape[1]) for edge in (tile.x0, tile.x1))
    at = [round((1 - tile.y1 + part * tile.height) * pixels.shape[0]) for part in (0.2, 0.8)]
    assert pixels[at[0], left + 10 : right - 10].mean() > 200
    assert pixels[at[1], left + 10 : right - 10].mean() < 60


def test_montage_with_errors_below_has_a_row_of_errors_for_each_row_of_images(tmp_path: Path, pages) -> None:
    save(tmp_path / "case.png", case_of(slices(2), indices=[3, 9]), errors_below=True)
    page = pages[0]
    assert page.headings == ["LR", "SR", "HR", "reference"]
    assert [row.label for row in page.rows[:4]] == ["slice 3", "error", "slice 9", "error"]
    low_res, super_res, *nothing = page.rows[3].tiles
    np.testing.assert_allclose(low_res.image, 0.07, atol=1e-6)
    np.testing.assert_allclose(super_res.image, 0.02, atol=1e-6)
    assert nothing == [None, None]
    colours = [axes.images[0].get_cmap().name for axes in page.figure.axes[:-1]]
    assert colours == (["gray"] * 4 + ["inferno"] * 2) * 3
    assert {axes.images[0].norm.vmax for axes in page.figure.axes[4:6]} == {low_res.scale.high}


def test_errors_below_stand_under_their_images_and_apart_from_the_next_row(tmp_path: Path, pages) -> None:
    save(tmp_path / "case.png", case_of(slices(2)), errors_below=True)
    axes = pages[0].figure.axes[:-1]
    image, error, following = (axes[number].get_position() for number in (1, 5, 7))
    assert (error.x0, error.width) == pytest.approx((image.x0, image.width))
    assert image.y0 > error.y1 > error.y0 > following.y1
    assert error.y0 - following.y1 > image.y0 - error.y1


def test_columns_are_compared_with_targets_of_their_own(tmp_path: Path, pages) -> None:
    image = slices(1)["high_res"]
    images = {"level_1": image - 0.3, "target": image - 0.25, "high_res": image}
    case = case_of(images, scores=[{"level_1": {"psnr": 20.0}}])
    columns = [MontageColumn(case, "level_1", "target"), MontageColumn(case, "target", label="its target")]
    save_montage(tmp_path / "levels.png", columns, "levels", errors_below=True)
    assert pages[0].headings == ["level 1", "its target"]
    whole, errors, *_ = pages[0].rows
    assert [tile.caption for tile in whole.tiles] == ["PSNR 20.00", ""]
    np.testing.assert_allclose(errors.tiles[0].image, 0.05, atol=1e-6)
    assert errors.tiles[1] is None


def test_montage_shows_nan_in_a_colour_of_its_own(tmp_path: Path) -> None:
    images = slices(1)
    images["super_res"][0, 20:30] = np.nan
    path = save(tmp_path / "case.png", case_of(images))
    found = {colour for _, colour in Image.open(path).convert("RGB").getcolors(1 << 24)}
    assert tuple(bytes.fromhex(MISSING[1:])) in found


def test_montage_of_a_perfect_output_on_empty_slices_is_drawn(tmp_path: Path) -> None:
    save(tmp_path / "case.png", case_of(dict.fromkeys(["low_res", "high_res", "reference"], np.zeros((1, 17, 18)))))


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (17, 17), (33, 64)])
def test_montage_of_slices_of_any_size_is_drawn(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((1, *shape))
    save(tmp_path / "case.png", case_of({"low_res": image, "high_res": image / 2}))


def test_montage_is_the_same_file_each_time(tmp_path: Path) -> None:
    first, second = (save(tmp_path / name, case_of(slices(1))) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()


def test_montage_keeps_out_of_pyplot(tmp_path: Path) -> None:
    loaded = "matplotlib.pyplot" in sys.modules
    save(tmp_path / "case.png", case_of(slices(1)))
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_montage_colours_of_text_survive_the_palette(tmp_path: Path) -> None:
    path = save(tmp_path / "case.png", case_of(slices(3)))
    found = {colour for _, colour in Image.open(path).convert("RGB").getcolors(1 << 24)}
    assert {(255, 255, 255), (0, 0, 0), tuple(bytes.fromhex(MARK[1:]))} <= found


def test_montage_refuses_columns_without_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a montage of \['HR'\] has nothing to compare"):
        save(tmp_path / "case.png", case_of({"high_res": np.ones((1, 8, 8))}))


def test_montage_refuses_another_file_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"case.jpg is no name of a PNG file; let it end in .png"):
        save(tmp_path / "case.jpg", case_of(slices(1)))


def test_montage_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into this output folder"):
        save(tmp_path / "file" / "case.png", case_of(slices(1)))
