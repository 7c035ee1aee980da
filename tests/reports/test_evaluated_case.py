# SPDX-License-Identifier: Apache-2.0
"""A case is drawn the same way whatever the order of its voxels, with the file's own slice numbers."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from bundle.errors import InputError
from bundle.reports.evaluated_case import save_case_montage

SHAPE = (30, 40, 8)
AFFINE = np.array([[0.8, 0, 0, -12], [0, 1.2, 0, -24], [0, 0, 3, -12], [0, 0, 0, 1.0]])  # RAS, pixels 0.8 x 1.2 mm
SLICES = [3, 5, 6, 7, 8, 9, 11, 12]  # of the file; those between hold no tissue
POSITIONS = [2, 4, 6]  # the quartiles of eight slices
NAMES = ("low_res", "super_res", "high_res", "reference")


def volumes(n_slices: int = SHAPE[2]) -> dict[str, torch.Tensor]:
    """Images without background, so that tiles are not cropped; every voxel differs from every other."""
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 + 0.8 * torch.rand(1, *SHAPE[:2], n_slices, generator=generator) for name in NAMES}


def scores(n_slices: int = SHAPE[2]) -> dict[str, dict[str, torch.Tensor]]:
    """A PSNR of 20 + position for the low-res, and of 30 + position for the super-res."""
    position = torch.arange(n_slices, dtype=torch.float32)
    return {"low_res": {"psnr": 20 + position}, "super_res": {"psnr": 30 + position, "ssim": position / 10}}


def stored_as(axes: str, images: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Return the same images with their voxels in another order, and the affine that goes with it."""
    orientation = nib.orientations
    change = orientation.ornt_transform(orientation.axcodes2ornt("RAS"), orientation.axcodes2ornt(axes))
    turned = {
        name: torch.as_tensor(orientation.apply_orientation(image[0].numpy(), change).copy())[None]
        for name, image in images.items()
    }
    return turned, AFFINE @ orientation.inv_ornt_aff(change, SHAPE)


def test_a_case_shows_its_quartile_slices_numbered_as_in_the_file(tmp_path: Path, pages) -> None:
    images = volumes()
    path = save_case_montage(tmp_path / "sub-1_ses-2.png", images, AFFINE, scores(), SLICES)
    with Image.open(path) as png:
        png.load()
        assert png.format == "PNG"
    (page,) = pages
    assert page.title == "sub-1_ses-2"
    assert page.rows[0].tiles[0].sides == ("R", "A")
    assert page.rows[0].tiles[0].aspect == pytest.approx(1.2 / 0.8)
    assert [row.label for row in page.rows] == [
        "slice 6", "slice 8", "slice 11", "slice 8 \N{MULTIPLICATION SIGN} 3",
    ]  # fmt: skip
    for row, position in zip(page.rows, POSITIONS, strict=False):
        for tile, name in zip(row.tiles, NAMES, strict=False):
            # Anterior on top, the patient's right on the left: from RAS, both axes run backwards.
            np.testing.assert_array_equal(tile.image, images[name][0, ..., position].numpy().T[::-1, ::-1])


def test_a_case_prints_the_scores_of_the_slices_it_shows(tmp_path: Path, pages) -> None:
    save_case_montage(tmp_path / "a.png", volumes(), AFFINE, scores(), SLICES)
    captions = [[tile.caption for tile in row.tiles[:3]] for row in pages[0].rows[:3]]
    assert captions == [
        ["PSNR 22.00", "PSNR 32.00   SSIM 0.200", ""],
        ["PSNR 24.00", "PSNR 34.00   SSIM 0.400", ""],
        ["PSNR 26.00", "PSNR 36.00   SSIM 0.600", ""],
    ]


@pytest.mark.parametrize("axes", ["LAS", "LPS", "ARS", "PLS"])
def test_a_case_stored_in_another_order_gives_the_same_file(tmp_path: Path, axes: str) -> None:
    images = volumes()
    expected = save_case_montage(tmp_path / "a" / "case.png", images, AFFINE, scores(), SLICES)
    turned, affine = stored_as(axes, images)
    assert "".join(nib.aff2axcodes(affine)) == axes
    path = save_case_montage(tmp_path / "b" / "case.png", turned, affine, scores(), SLICES)
    assert path.read_bytes() == expected.read_bytes()


def test_a_sagittal_case_shows_superior_up_and_anterior_on_the_left(tmp_path: Path, pages) -> None:
    images = volumes()
    affine = AFFINE[:, [1, 2, 0, 3]]  # the first axis is A, the second S, and slices run from left to right
    save_case_montage(tmp_path / "a.png", images, affine, scores(), SLICES)
    tile = pages[0].rows[0].tiles[0]
    assert tile.sides == ("A", "S")
    assert tile.aspect == pytest.approx(3 / 1.2)
    np.testing.assert_array_equal(tile.image, images["low_res"][0, ..., POSITIONS[0]].numpy().T[::-1, ::-1])


@pytest.mark.parametrize("n_slices", [1, 2, 3])
def test_a_case_of_few_slices_shows_them_all(tmp_path: Path, pages, n_slices: int) -> None:
    numbers = SLICES[:n_slices]
    save_case_montage(tmp_path / "a.png", volumes(n_slices), AFFINE, scores(n_slices), numbers)
    assert [row.label for row in pages[0].rows[:-1]] == [f"slice {number}" for number in numbers]


def test_a_case_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write into this output folder"):
        save_case_montage(tmp_path / "file" / "a.png", volumes(), AFFINE, scores(), SLICES)
