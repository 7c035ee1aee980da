# SPDX-License-Identifier: Apache-2.0
"""Panels of a case: what every row of a study makes of the same slices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.drawing.montage_page import TileRow
from bundle.errors import InputError
from bundle.studies.panels import read_panels, save_level_panels, save_panels

Evaluation = Callable[..., Path]
SLICES = [11, 14, 19]
RANDOM = np.random.default_rng(0)
HIGH_RES = (0.2 + 0.8 * RANDOM.random((3, 48, 40))).astype(np.float32)  # no background, so that tiles are not cropped
REFERENCE = (5 * RANDOM.random((3, 48, 40))).astype(np.float32)


@pytest.fixture
def row(evaluation: Evaluation) -> Callable[..., Path]:
    """Return a function that stores a row whose output errs by a constant; the file has the slices of a case."""

    def store(name: str, error: float = 0.02, blur: float = 0.1, **arrays: np.ndarray) -> Path:
        scores = {("A", index): {"low_res": [20 + index, 0.7], "super_res": [30 + index, 0.9]} for index in range(25)}
        scores |= {("B", index): {"super_res": [10, 0.1]} for index in range(25)}
        folder = evaluation(name, scores, ["psnr", "ssim"])
        images = {
            "low_res": HIGH_RES - blur,
            "super_res": HIGH_RES + error,
            "high_res": HIGH_RES,
            "reference": REFERENCE,
        }
        about = {"slices": np.array(SLICES), "aspect": np.array(1.5), "edges": np.array(["R", "A"])}
        (folder / "panels").mkdir()
        stored = {name: array for name, array in (about | images | arrays).items() if array is not None}
        np.savez_compressed(folder / "panels" / "sub-A.npz", **stored)
        return folder

    return store


def tile_means(row: TileRow) -> list[float | None]:
    return [tile and round(float(np.mean(tile.image)), 4) for tile in row.tiles]


def captions(row: TileRow) -> list[str]:
    return [tile.caption for tile in row.tiles]


def test_panels_show_low_res_each_row_high_res_and_reference(tmp_path: Path, row, pages) -> None:
    (path,) = save_panels(tmp_path / "new" / "a.png", {"SR1": row("1"), "SR4": row("4", 0.01)}, "sub-A", "Title")
    with Image.open(path) as image:
        assert image.format == "PNG"
    page = pages[0]
    assert page.headings == ["LR", "SR1", "SR4", "HR", "reference"]
    tiles = page.rows[0].tiles
    for tile, expected in zip(
        tiles, (HIGH_RES - 0.1, HIGH_RES + 0.02, HIGH_RES + 0.01, HIGH_RES, REFERENCE), strict=True
    ):
        np.testing.assert_allclose(tile.image, expected[1], atol=1e-6)
    assert (page.title, tiles[0].sides, tiles[0].aspect) == ("Title", ("R", "A"), 1.5)
    assert tiles[3].scale.high < 1.1 < 4 < tiles[4].scale.high  # the reference has its own grey window


def test_panels_show_errors_below_what_was_compared_on_one_scale(tmp_path: Path, row, pages) -> None:
    save_panels(tmp_path / "a.png", {"SR1": row("1", 0.039), "SR4": row("4", 0.02)}, "sub-A", "Title")
    page = pages[0]
    errors = page.rows[1]
    assert errors.label == "error"
    assert tile_means(errors) == [0.1, 0.039, 0.02, None, None]
    # The rows decide on the scale, the low-res does not; the bar states it.
    assert [tile.scale.high for row in page.rows[1::2] for tile in row.drawn] == [pytest.approx(0.04)] * 6
    bar = page.figure.axes[-1]
    assert bar.get_ylim()[1] == pytest.approx(0.04)
    assert bar.get_ylabel() == "error (1 = peak)"


def test_one_bad_row_does_not_leave_all_others_black(tmp_path: Path, row, pages) -> None:
    folders = {"SR1": row("1", 0.039), "SR2": row("2", 0.5), "SR4": row("4", 0.02)}
    save_panels(tmp_path / "a.png", folders, "sub-A", "Title")
    assert pages[0].rows[1].tiles[0].scale.high == pytest.approx(0.04)


def test_panels_print_the_scores_of_the_slice_below_each_image(tmp_path: Path, row, pages) -> None:
    save_panels(tmp_path / "a.png", {"SR": row("1")}, "sub-A", "Title")
    assert captions(pages[0].rows[0]) == ["PSNR 34.00   SSIM 0.700", "PSNR 44.00   SSIM 0.900", "", ""]


def test_panels_zoom_into_images_and_errors_alike(tmp_path: Path, row, pages) -> None:
    save_panels(tmp_path / "a.png", {"SR": row("1")}, "sub-A", "Title")
    whole, errors, zoomed, zoomed_errors = pages[0].rows
    assert [part.label for part in (whole, errors, zoomed, zoomed_errors)] == [
        "slice 14", "error", "slice 14 \N{MULTIPLICATION SIGN} 3", "error",
    ]  # fmt: skip
    mark = whole.tiles[0].mark
    assert mark is not None
    np.testing.assert_array_equal(zoomed.tiles[1].image, mark.crop(whole.tiles[1].image))
    np.testing.assert_array_equal(zoomed_errors.tiles[0].image, mark.crop(errors.tiles[0].image))
    assert zoomed_errors.tiles[2] is None


def test_panels_show_every_low_res_before_the_first_row_that_was_given_it(tmp_path: Path, row, pages) -> None:
    folders = {"2x": row("a"), "one-level 4x": row("b", blur=0.2), "PRO-C 4x": row("c", blur=0.2)}
    save_panels(tmp_path / "a.png", folders, "sub-A", title="Factors")
    page = pages[0]
    assert page.headings == ["LR 2x", "2x", "LR 4x", "one-level 4x", "PRO-C 4x", "HR", "reference"]
    assert page.title == "Factors"
    assert captions(page.rows[0])[0] == "PSNR 34.00\nSSIM 0.700"  # narrow columns: one score a line


def test_many_rows_take_several_pages_with_those_of_one_low_res_together(tmp_path: Path, row, pages) -> None:
    blurs = {**dict.fromkeys("abcdefgh", 0.1), **dict.fromkeys("ij", 0.2), **dict.fromkeys("kl", 0.3)}
    folders = {label: row(label, error=0.05 if label in "fgh" else 0.02, blur=blur) for label, blur in blurs.items()}
    (tmp_path / "x_page_7.png").touch()  # of an earlier report
    paths = save_panels(tmp_path / "x.png", folders, "sub-A", title="Many")
    assert [path.name for path in paths] == ["x.png", "x_page_2.png", "x_page_3.png"]
    assert set(tmp_path.glob("*.png")) == set(paths)
    assert [page.headings[:-2] for page in pages] == [
        ["LR of a", *"abcd"], ["LR of a", *"efgh"], ["LR of i", *"ij", "LR of k", *"kl"],
    ]  # fmt: skip
    assert [page.headings[-2:] for page in pages] == [["HR", "reference"]] * 3
    assert len({page.rows[1].tiles[0].scale.high for page in pages}) == 1


def test_rows_of_other_images_are_refused_on_whichever_page_they_would_stand(tmp_path: Path, row) -> None:
    folders = {label: row(label) for label in "abcdefgh"} | {"other": row("other", high_res=HIGH_RES + 0.1)}
    with pytest.raises(InputError, match="show different slices or another high-res image"):
        save_panels(tmp_path / "x.png", folders, "sub-A", "Title")


def test_long_headings_are_broken_into_lines_that_leave_their_neighbours_alone(tmp_path: Path, row, pages) -> None:
    folders = {
        name: row(str(number))
        for number, name in enumerate(["fast 4x progressive MWM", "SR", "no reference at all MW"])
    }
    save_panels(tmp_path / "a.png", folders, "sub-A", "Title")
    figure = pages[0].figure
    renderer = figure.canvas.get_renderer()
    texts = {text.get_text(): text.get_window_extent(renderer) for text in figure.texts}
    titles = [texts[name] for name in ("fast 4x progressive\nMWM", "SR", "no reference at all\nMW")]
    assert titles[0].x1 < titles[1].x0 < titles[1].x1 < titles[2].x0
    highest_tile = max(axes.get_window_extent(renderer).y1 for axes in figure.axes)
    assert min(title.y0 for title in titles) > highest_tile
    assert max(title.y1 for title in titles) < texts["Title"].y0


def test_panels_do_without_a_reference(tmp_path: Path, row, pages) -> None:
    save_panels(tmp_path / "a.png", {"SR": row("1", reference=None)}, "sub-A", "Title")
    assert pages[0].headings == ["LR", "SR", "HR"]


def test_levels_stand_beside_their_targets(tmp_path: Path, row, pages) -> None:
    target = HIGH_RES - 0.05
    save_level_panels(
        tmp_path / "a.png", row("1", level_1=target + 0.029, level_1_target=target), "sub-A", title="PRO-C"
    )
    page = pages[0]
    assert page.headings == ["LR", "level 1", "level 1 target", "SR", "HR"]
    np.testing.assert_allclose(page.rows[0].tiles[2].image, target[1])
    assert tile_means(page.rows[1]) == [0.1, 0.029, None, 0.02, None]
    assert page.rows[1].tiles[0].scale.high == pytest.approx(0.03)
    assert page.title == "PRO-C"


def test_three_levels_stand_in_their_order(tmp_path: Path, row, pages) -> None:
    levels = {f"level_{n}{end}": HIGH_RES for n in (2, 1) for end in ("", "_target")}
    save_level_panels(tmp_path / "a.png", row("1", **levels), "sub-A", "Title")
    assert pages[0].headings == ["LR", "level 1", "level 1 target", "level 2", "level 2 target", "SR", "HR"]


def test_panels_are_the_same_file_each_time(tmp_path: Path, row) -> None:
    folders = {"SR": row("1")}
    (first,), (second,) = (save_panels(tmp_path / name, folders, "sub-A", "Title") for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()


def test_case_that_was_not_evaluated_is_named(row) -> None:
    with pytest.raises(InputError, match=r"panels/sub-B.npz: cannot read the slices of this case"):
        read_panels(row("1"), "sub-B")


def test_damaged_case_is_named(row) -> None:
    folder = row("1")
    for content in (b"", b"no archive"):
        (folder / "panels" / "sub-A.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"sub-A.npz: cannot read the slices of this case"):
            read_panels(folder, "sub-A")


def test_case_without_what_is_drawn_is_named(row) -> None:
    with pytest.raises(InputError, match=r"sub-A.npz: there is no low_res and no edges in this file"):
        read_panels(row("1", low_res=None, edges=None), "sub-A")


@pytest.mark.parametrize(
    "other",
    [
        {"high_res": HIGH_RES + 0.1},
        {"slices": np.array([1, 2, 3])},
        dict.fromkeys(["low_res", "super_res", "high_res", "reference"], HIGH_RES[:, :-1]),
    ],
)
def test_rows_of_other_images_are_refused(tmp_path: Path, row, other: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="show different slices or another high-res image"):
        save_panels(tmp_path / "a.png", {"a": row("a"), "b": row("b", **other)}, "sub-A", "Title")


def test_row_of_one_level_has_no_level_panels(tmp_path: Path, row) -> None:
    with pytest.raises(InputError, match="there are no levels of sub-A here; choose a row with a progressive network"):
        save_level_panels(tmp_path / "a.png", row("1"), "sub-A", "Title")
