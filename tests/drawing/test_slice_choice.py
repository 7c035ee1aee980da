# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.drawing.slice_choice import Box, detail_box, quartile_slices, tissue_box


def test_slices_are_chosen_at_the_quartiles() -> None:
    assert quartile_slices(range(10, 50)) == [20, 30, 40]
    assert quartile_slices(range(5), 1) == [2]


@given(st.sets(st.integers(0, 300), min_size=1), st.integers(1, 5))
def test_chosen_slices_are_distinct_ordered_and_among_the_given(slices: set[int], n: int) -> None:
    chosen = quartile_slices(list(slices), n)
    assert chosen == sorted(set(chosen))
    assert set(chosen) <= slices
    assert len(chosen) == min(n, len(slices))


@pytest.mark.parametrize(("slices", "n"), [([], 3), ([1, 2], 0)])
def test_slices_cannot_be_chosen_from_none(slices: list[int], n: int) -> None:
    with pytest.raises(ValueError, match="pass at least one slice and n >= 1"):
        quartile_slices(slices, n)


def test_tissue_box_holds_the_tissue_of_all_images_and_the_margin() -> None:
    first, second = np.zeros((2, 20, 30), dtype=np.float32)
    first[5, 10] = second[8, 12] = 1
    assert tissue_box([first, second], 0.5, margin=2) == Box(3, 8, 8, 7)
    assert tissue_box([first, second], 0.5, margin=100) == Box(0, 0, 20, 30)


def test_tissue_box_without_tissue_is_the_whole_image() -> None:
    assert tissue_box([np.zeros((4, 6), dtype=np.float32)], 0.1) == Box(0, 0, 4, 6)


@pytest.mark.parametrize(("shape", "part"), [((60, 80), 10), ((63, 75), 8), ((60, 80), 60)])
def test_detail_box_finds_the_textured_part_of_the_middle(shape: tuple[int, int], part: int) -> None:
    generator = np.random.default_rng(0)
    image = np.zeros(shape, dtype=np.float32)
    image[:3] = 100 * generator.random((3, shape[1]))  # a bright scalp, outside the middle
    height, width = (side // part for side in shape)
    image[24 : 24 + height, 35 : 35 + width] = generator.random((height, width)) + 0.1
    box = detail_box(image, part)
    assert box[2:] == (height, width)
    assert abs(box.top - 24) <= 1
    assert abs(box.left - 35) <= 1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_detail_box_lies_in_the_middle_and_holds_the_most(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    part = max(height // 3, 1), max(width // 3, 1)
    box = detail_box(image, 3)
    assert box.crop(image).shape == part
    assert height // 4 <= box.top <= box.top + box.height <= height // 4 + max(height // 2, 1)
    assert width // 4 <= box.left <= box.left + box.width <= width // 4 + max(width // 2, 1)
    if min(height, width) > 1:
        energy = sum(np.square(slope) for slope in np.gradient(image.astype(np.float64)))
        means = [
            Box(top, left, *part).crop(energy).mean()
            for top in range(height // 4, height // 4 + max(height // 2, 1) - part[0] + 1)
            for left in range(width // 4, width // 4 + max(width // 2, 1) - part[1] + 1)
        ]
        assert box.crop(energy).mean() == pytest.approx(max(means))
