# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from bundle.drawing.case_slices import CaseSlices
from bundle.errors import InputError

AFFINE = np.diag([-0.5, 0.8, 4.0, 1.0])  # axes run to the left, to the front and up


def volumes(shape: tuple[int, int, int] = (5, 7, 3)) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {name: generator.random(shape) for name in ("low_res", "high_res")}


def test_slices_are_hung_alike_with_what_belongs_to_them() -> None:
    case = CaseSlices.of(volumes(), AFFINE, [4, 7, 9], n_measured=(2, 3))
    for name, volume in volumes().items():
        assert case.images[name].dtype == np.float32
        for image, expected in zip(case.images[name], np.moveaxis(volume, -1, 0), strict=True):
            np.testing.assert_allclose(image, expected.T[::-1])
    assert (case.sides, case.n_measured) == (("R", "A"), (3, 2))
    assert case.aspect == pytest.approx(0.8 / 0.5)


def test_middle_slice_keeps_its_index_and_scores() -> None:
    scores = [{"low_res": {"psnr": float(n)}} for n in range(3)]
    case = CaseSlices.of(volumes(), AFFINE, [4, 7, 9], scores)
    middle = case.middle()
    assert (middle.slices, middle.scores) == ([7], [scores[1]])
    np.testing.assert_array_equal(middle.images["low_res"], case.images["low_res"][[1]])


def test_stored_slices_are_read_as_they_were(tmp_path: Path) -> None:
    case = CaseSlices.of(volumes(), AFFINE, [4, 7, 9])
    found = CaseSlices.load(case.save(tmp_path / "new" / "a.npz"), ["low_res"])
    assert (found.slices, found.aspect, found.sides) == (case.slices, case.aspect, case.sides)
    assert found.images.keys() == case.images.keys()
    for name, image in case.images.items():
        np.testing.assert_array_equal(found.images[name], image)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a.npz: cannot read the slices of this case"):
        CaseSlices.load(tmp_path / "a.npz", [])


@pytest.mark.parametrize("shape", [(5, 7, 2), (5, 6, 3), (0, 7, 3)])
def test_images_that_do_not_belong_together_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"reference has shape .* pass the same slices of every image"):
        CaseSlices.of({**volumes(), "reference": np.ones(shape)}, AFFINE, [4, 7, 9])
