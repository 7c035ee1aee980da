# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bundle.drawing.montage import MontageOptions, Picture, save_montage, save_pictures
from bundle.drawing.montage_page import MARK, MISSING
from bundle.drawing.windows import error_limit
from bundle.errors import InputError

ROWS, COLUMNS = 48, 40


def slices(n: int = 2, reference: bool = True) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(n):
        high_res = 0.2 + 0.8 * generator.random((ROWS, COLUMNS))
        row = {"low_res": high_res - 0.07, "super_res": high_res + 0.02, "high_res": high_res}
        rows.append(row | ({"reference": 5 * generator.random((ROWS, COLUMNS))} if reference else {}))
    return rows


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_text()]


def test_montage_is_a_small_png_of_the_rows_given(tmp_path: Path) -> None:
    path = save_montage(tmp_path / "new" / "case.png", slices(), options=MontageOptions(title="case"))
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width == 1800
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50
    assert path.stat().st_size < 500_000
    assert [file.name for file in path.parent.iterdir()] == ["case.png"]


def test_montage_columns_are_images_then_reference_then_errors(tmp_path: Path, pages) -> None:
    save_montage(tmp_path / "case.png", slices(1))
    page, _ = pages[0]
    assert [column.heading for column in page.columns] == [
        "LR", "SR", "HR", "reference", "|LR \N{MINUS SIGN} HR|", "|SR \N{MINUS SIGN} HR|",
    ]  # fmt: skip
    assert [column.is_error for column in page.columns] == [False] * 4 + [True] * 2


def test_montage_shares_the_grey_window_and_the_error_scale(tmp_path: Path, pages) -> None:
    rows = slices()
    save_montage(tmp_path / "case.png", rows)
    page, _ = pages[0]
    low_res, super_res, high_res, reference, *errors = page.columns
    brightest = np.percentile([row["high_res"] for row in rows], 99.8)
    for column in (low_res, super_res, high_res):
        assert (column.scale.vmin, column.scale.vmax) == (0, pytest.approx(brightest))
    assert reference.scale.vmax == pytest.approx(np.percentile([row["reference"] for row in rows], 99.8))
    # Errors are 0.07 and 0.02 everywhere: the scale ends at the round number above the larger.
    assert [error.scale.vmax for error in errors] == [pytest.approx(0.08)] * 2
    np.testing.assert_allclose(page.rows[0].images[4], 0.07, atol=1e-6)
    np.testing.assert_allclose(page.rows[0].images[5], 0.02, atol=1e-6)


def test_montage_takes_a_fixed_error_scale(tmp_path: Path, pages) -> None:
    save_montage(tmp_path / "case.png", slices(1), options=MontageOptions(error_limit=0.25))
    assert [column.scale.vmax for column in pages[0][0].columns[-2:]] == [0.25, 0.25]


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
    save_montage(tmp_path / "case.png", slices(), scores, MontageOptions(row_labels=["slice 3", "slice 9"]))
    page, figure = pages[0]
    assert list(page.rows[0].captions[:3]) == ["PSNR 27.15   SSIM 0.793", "PSNR 33.30   SSIM 0.950\nIFC 2.700", ""]
    assert page.rows[1].captions[0] == "PSNR inf   SSIM 1.000"
    assert {"PSNR 27.15   SSIM 0.793", "slice 3", "slice 9", "slice 9 \N{MULTIPLICATION SIGN} 3"} <= set(texts(figure))


def test_montage_writes_title_and_sides_of_the_patient(tmp_path: Path, pages) -> None:
    save_montage(tmp_path / "case.png", slices(1), options=MontageOptions(title="sub-1", edges=("R", "A")))
    assert {"sub-1", "R", "A"} <= set(texts(pages[0][1]))


def test_montage_zooms_into_the_marked_part_of_the_middle_row(tmp_path: Path, pages) -> None:
    save_montage(tmp_path / "case.png", slices(3))
    first, middle, last, zoomed = pages[0][0].rows
    assert first.mark is None
    assert last.mark is None
    assert middle.mark is not None
    assert middle.mark[2:] == (ROWS // 3, COLUMNS // 3)
    for whole, part in zip(middle.images, zoomed.images, strict=True):
        np.testing.assert_array_equal(middle.mark.crop(whole), part)


def test_montage_without_zoom_has_one_row_a_slice(tmp_path: Path, pages) -> None:
    save_montage(tmp_path / "case.png", slices(2), options=MontageOptions(zoom=False))
    assert [row.mark for row in pages[0][0].rows] == [None, None]


def test_montage_crops_all_tiles_to_the_tissue_of_all_rows(tmp_path: Path, pages) -> None:
    rows = slices(2)
    for number, row in enumerate(rows):
        row["high_res"] = np.zeros((ROWS, COLUMNS))
        row["high_res"][15 + number : 20 + number, 10:30] = 1
    save_montage(tmp_path / "case.png", rows)
    first, second = pages[0][0].rows[:2]
    np.testing.assert_allclose(first.images[2], rows[0]["high_res"][11:25, 6:34])
    np.testing.assert_allclose(second.images[0], rows[1]["low_res"][11:25, 6:34].astype(np.float32))


@pytest.mark.parametrize("aspect", [0.5, 1.0, 4.0])
def test_montage_draws_pixels_in_their_true_proportion_and_fills_the_tiles(
    tmp_path: Path, pages, aspect: float
) -> None:
    save_montage(tmp_path / "case.png", slices(1), options=MontageOptions(aspect=aspect, zoom=False))
    figure = pages[0][1]
    place = figure.axes[0].get_position()
    height, width = place.height * figure.get_figheight(), place.width * figure.get_figwidth()
    assert height / width == pytest.approx(aspect * ROWS / COLUMNS)
    np.testing.assert_allclose(place.bounds, figure.axes[0].get_position(original=True).bounds, rtol=1e-6)


def test_montage_shows_the_first_row_of_an_array_on_top(tmp_path: Path) -> None:
    image = np.full((30, 30), 0.1)
    image[:10] = 1.0
    rows = [{"low_res": image, "high_res": image}]
    path = save_montage(tmp_path / "case.png", rows, options=MontageOptions(zoom=False))
    pixels = np.asarray(Image.open(path).convert("L")).astype(float)
    height = pixels.shape[0]
    left = pixels[:, 60:400]
    assert left[int(0.25 * height)].mean() > 200
    assert left[int(0.8 * height)].mean() < 60


def test_montage_of_several_outputs_has_a_column_and_an_error_for_each(tmp_path: Path, pages) -> None:
    rows = [row | {"consistent": row["super_res"]} for row in slices(1, reference=False)]
    save_montage(tmp_path / "case.png", rows)
    headings = [column.heading.replace("\N{MINUS SIGN}", "-") for column in pages[0][0].columns]
    assert headings == ["LR", "SR", "consistent", "HR", "|LR - HR|", "|SR - HR|", "|consistent - HR|"]


def test_montage_with_errors_below_has_a_row_of_errors_for_each_row_of_images(tmp_path: Path, pages) -> None:
    rows = slices(2)
    options = MontageOptions(errors_below=True, zoom=False, row_labels=["first", "second"])
    save_montage(tmp_path / "case.png", rows, options=options)
    page, figure = pages[0]
    assert [column.heading for column in page.columns] == ["LR", "SR", "HR", "reference"]
    assert [row.label for row in page.rows] == ["first", "error", "second", "error"]
    low_res, super_res, *nothing = page.rows[3].images
    np.testing.assert_allclose(low_res, 0.07, atol=1e-6)
    np.testing.assert_allclose(super_res, 0.02, atol=1e-6)
    assert nothing == [None, None]
    colours = [axes.images[0].get_cmap().name for axes in figure.axes[:-1]]
    assert colours == (["gray"] * 4 + ["inferno"] * 2) * 2
    assert {axes.images[0].norm.vmax for axes in figure.axes[4:6]} == {page.error_scale.vmax}


def test_errors_below_stand_under_their_images_and_apart_from_the_next_row(tmp_path: Path, pages) -> None:
    save_montage(tmp_path / "case.png", slices(2), options=MontageOptions(errors_below=True, zoom=False))
    axes = pages[0][1].axes[:-1]
    image, error, following = (axes[number].get_position() for number in (1, 5, 7))
    assert (error.x0, error.width) == pytest.approx((image.x0, image.width))
    assert image.y0 > error.y1 > error.y0 > following.y1
    assert error.y0 - following.y1 > image.y0 - error.y1


def test_pictures_are_compared_with_targets_of_their_own(tmp_path: Path, pages) -> None:
    image = slices(1)[0]["high_res"].astype(np.float32)
    pictures = [
        Picture("level 1", [image - 0.3], [{"psnr": 20.0}], target=[image - 0.25]),
        Picture("its target", [image - 0.25]),
    ]
    save_pictures(tmp_path / "levels.png", pictures, [image], MontageOptions(zoom=False, errors_below=True))
    whole, errors = pages[0][0].rows
    assert list(whole.captions) == ["PSNR 20.00", ""]
    np.testing.assert_allclose(errors.images[0], 0.05, atol=1e-6)
    assert errors.images[1] is None


def test_montage_shows_nan_in_a_colour_of_its_own(tmp_path: Path) -> None:
    rows = slices(1)
    rows[0]["super_res"][20:30] = np.nan
    path = save_montage(tmp_path / "case.png", rows, options=MontageOptions(zoom=False))
    found = {colour for _, colour in Image.open(path).convert("RGB").getcolors(1 << 24)}
    assert tuple(bytes.fromhex(MISSING[1:])) in found


def test_montage_of_a_perfect_output_on_empty_slices_is_drawn(tmp_path: Path) -> None:
    empty = np.zeros((17, 18))
    save_montage(tmp_path / "case.png", [{"low_res": empty, "high_res": empty, "reference": empty}])


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (17, 17), (33, 64)])
def test_montage_of_slices_of_any_size_is_drawn(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape)
    save_montage(tmp_path / "case.png", [{"low_res": image, "high_res": image / 2}])


def test_montage_is_the_same_file_each_time(tmp_path: Path) -> None:
    first, second = (save_montage(tmp_path / name, slices(1)) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()


def test_montage_keeps_out_of_pyplot(tmp_path: Path) -> None:
    loaded = "matplotlib.pyplot" in sys.modules
    save_montage(tmp_path / "case.png", slices(1), options=MontageOptions(title="x"))
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_montage_colours_of_text_survive_the_palette(tmp_path: Path) -> None:
    path = save_montage(tmp_path / "case.png", slices(3))
    found = {colour for _, colour in Image.open(path).convert("RGB").getcolors(1 << 24)}
    assert {(255, 255, 255), (0, 0, 0), tuple(bytes.fromhex(MARK[1:]))} <= found


def test_montage_refuses_rows_without_a_comparison(tmp_path: Path) -> None:
    image = np.ones((8, 8))
    for rows in ([], [{}], [{"low_res": image}], [{"high_res": image, "reference": image}]):
        with pytest.raises(ValueError, match="has nothing to compare"):
            save_montage(tmp_path / "case.png", rows)


def test_montage_refuses_rows_that_differ(tmp_path: Path) -> None:
    rows = slices(2)
    with pytest.raises(ValueError, match="rows hold different images"):
        save_montage(tmp_path / "case.png", [rows[0], slices(1, reference=False)[0]])
    with pytest.raises(ValueError, match=r"low_res has shape \(47, 40\)"):
        save_montage(tmp_path / "case.png", [rows[0], rows[1] | {"low_res": np.ones((47, 40))}])
    with pytest.raises(ValueError, match=r"low_res has shape \(4, 4, 4\)"):
        save_montage(tmp_path / "case.png", [{"low_res": np.ones((4, 4, 4)), "high_res": np.ones((4, 4, 4))}])


def test_montage_refuses_scores_and_labels_of_another_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are 1 scores for 2 rows"):
        save_montage(tmp_path / "case.png", slices(2), [{}])
    with pytest.raises(ValueError, match="there are 3 row labels for 2 rows"):
        save_montage(tmp_path / "case.png", slices(2), options=MontageOptions(row_labels=["a", "b", "c"]))


def test_montage_refuses_another_file_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"case.jpg is no name of a PNG file; let it end in .png"):
        save_montage(tmp_path / "case.jpg", slices(1))


def test_montage_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into this output folder"):
        save_montage(tmp_path / "file" / "case.png", slices(1))
