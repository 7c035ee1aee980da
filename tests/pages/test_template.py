# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.drawing.tile import GREY, MARK, SIGNED, UNSIGNED, Scale
from bundle.pages.template import css_gradient, data_uri, edges, outlines, painted


def rgb(hexadecimal: str) -> list[int]:
    return [int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5)]


def luminance(pixels: np.ndarray) -> np.ndarray:
    """CIE relative luminance of sRGB values 0 to 255."""
    linear = (pixels / 255.0) ** 2.2
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def disc(size: int = 61, radius: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.ogrid[:size, :size]
    distance = np.hypot(rows - size // 2, columns - size // 2)
    return (distance < radius).astype(np.float32), distance


def test_grey_is_linear_in_its_window_and_stops_at_its_ends() -> None:
    picture = painted(np.array([[-1.0, 0.0, 1.0, 2.0, 4.0, 9.0, np.nan]]), Scale(GREY, 0, 4))
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 0, 64, 128, 255, 255, 0]]


@pytest.mark.parametrize(
    ("colours", "stops"),
    [
        (SIGNED, ["#a8dcff", "#2f86cf", "#000000", "#d9701a", "#ffdca8"]),
        (UNSIGNED, ["#000000", "#51127c", "#b73779", "#fc8961", "#fcfdbf"]),
    ],
)
def test_legend_shows_the_colours_of_the_picture(colours, stops) -> None:
    picture = np.asarray(painted(np.linspace(-3, 5, 5)[None], Scale(colours, -3, 5)))
    assert picture[0].tolist() == [rgb(stop) for stop in stops]
    assert css_gradient(colours) == f"linear-gradient(to right, {', '.join(stops)})"


def test_signed_colours_are_black_at_zero_and_brighter_the_farther_from_it() -> None:
    found = np.asarray(painted(np.linspace(-1, 1, 101)[None], Scale(SIGNED, -1, 1)))[0]
    assert found[50].tolist() == [0, 0, 0]
    assert (np.diff(luminance(found[50:])) > 0).all()
    assert (np.diff(luminance(found[50::-1])) > 0).all()


def test_signs_differ_in_the_blue_that_all_common_colour_vision_sees() -> None:
    minus, plus = (np.asarray(painted(np.full((1, 1), x), Scale(SIGNED, -1, 1)))[0, 0].astype(int) for x in (-0.5, 0.5))
    assert minus[2] - minus[0] > 100
    assert plus[0] - plus[2] > 100


def test_unsigned_colours_brighten_from_end_to_end() -> None:
    found = np.asarray(painted(np.linspace(0, 1, 101)[None], Scale(UNSIGNED, 0, 1)))[0]
    assert (np.diff(luminance(found)) > 0).all()


@pytest.mark.parametrize("shape", [(33, 20), (512, 300), (1, 7)])
def test_address_holds_a_grey_picture_to_a_few_levels(shape, picture_of) -> None:
    smooth = np.add.outer(np.sin(np.linspace(0, 3, shape[0])), np.cos(np.linspace(0, 3, shape[1])))
    picture = painted(smooth, Scale(GREY, -1, 2))
    decoded = picture_of(data_uri(picture)).convert("L")
    assert decoded.size == (shape[1], shape[0])
    assert np.abs(np.asarray(decoded, dtype=int) - np.asarray(picture, dtype=int)).max() <= 6


@pytest.mark.parametrize(
    ("shape", "shown"), [((1024, 700), (350, 512)), ((300, 2000), (512, 77)), ((512, 512), (512, 512))]
)
def test_large_pictures_become_smaller_in_proportion(shape, shown) -> None:
    image = np.ones(shape, dtype=np.float32)
    assert painted(image, Scale(GREY, 0, 2)).size == shown
    assert outlines(image).size == shown
    assert set(np.unique(np.asarray(painted(image, Scale(GREY, 0, 2))))) == {128}


def test_edges_of_a_disc_are_its_closed_outline_whatever_the_texture() -> None:
    image, distance = disc()
    image += 0.02 * np.random.default_rng(0).random(image.shape).astype(np.float32)
    found = edges(image)
    assert np.abs(distance[found] - 20).max() < 2
    angles = np.arctan2(*(np.argwhere(found) - 30).T)
    assert len(np.unique(np.round(angles / (2 * np.pi) * 60).astype(int))) >= 60


def test_edges_of_a_constant_image_are_none() -> None:
    assert not edges(np.full((20, 20), 3.0)).any()


@given(st.floats(0.01, 1e4), st.floats(-100, 100))
def test_edges_do_not_depend_on_the_intensity_scale(gain, offset) -> None:
    image, _ = disc(31, 9.5)
    smooth = image.astype(np.float64)
    assert (edges(gain * smooth + gain * offset) != edges(smooth)).mean() < 0.02


def test_outlines_are_transparent_between_the_edges(picture_of) -> None:
    image, _ = disc()
    layer = np.asarray(picture_of(data_uri(outlines(image))))
    assert layer.shape == (61, 61, 4)
    assert ((layer[..., 3] == 255) == edges(image)).all()
    assert set(np.unique(layer[..., 3])) == {0, 255}
    assert {tuple(colour) for colour in layer[layer[..., 3] == 255][:, :3]} == {tuple(rgb(MARK))}
