# SPDX-License-Identifier: Apache-2.0
"""Pages from templates: one file each, with style, script and pictures inside, and every text escaped."""

import base64
import io
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import PIL.Image
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.colors import Colormap, to_hex, to_rgba
from scipy.ndimage import gaussian_gradient_magnitude, gaussian_laplace

from bundle.doubts import Verdict
from bundle.drawing.slice_choice import Image
from bundle.drawing.tile import GREY, MARK, Scale
from bundle.errors import printable
from bundle.files import atomic_path

# Classes of colours by verdict.
TONES: Final = {Verdict.FINE: "good", Verdict.LOOK: "warn", Verdict.DO_NOT_USE: "bad"}
_LARGEST_SIDE = 512  # pixels; larger pictures are made smaller, so that a page stays below 2 MB whatever the matrix
_GREY_QUALITY = 92  # lossy: off by about one level of grey in 255, at a third of the size of lossless
_COLOUR_QUALITY = 75  # maps of noise, whose size would be twice that of all else
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
)


def render(template: str, **values: Any) -> str:
    """Fill a template of this package; text that comes from outside is escaped."""
    return _TEMPLATES.get_template(template).render(**values)


def save_page(path: str | os.PathLike[str], page: str) -> Path:
    """Write a page whole, or raise ``InputError``."""
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def painted(image: Image, scale: Scale) -> PIL.Image.Image:
    """Return an image in the colours of a scale; NaN has the lower end's."""
    place = np.nan_to_num((_shrunk(image) - scale.low) / (scale.high - scale.low), nan=0.0).clip(0, 1)
    nearest = np.rint(place * (scale.colours.N - 1)).astype(int)
    picture = PIL.Image.fromarray(np.rint(255 * scale.colours(nearest)[..., :3]).astype(np.uint8))
    return picture.convert("L") if scale.colours is GREY else picture


def outlines(image: Image) -> PIL.Image.Image:
    """Return the outlines of an image as a layer to lay over another: transparent between them."""
    found = edges(_shrunk(image))
    layer = np.zeros((*found.shape, 4), dtype=np.uint8)
    layer[found] = np.rint(255 * np.array(to_rgba(MARK)))
    return PIL.Image.fromarray(layer)


def edges(image: Image, sigma: float = 1.2) -> npt.NDArray[np.bool_]:
    """Return the outlines in an image (rows, columns): zero crossings of its Laplacian where it is steep.

    Marr and Hildreth 1980, doi:10.1098/rspb.1980.0020, smoothed by ``sigma`` pixels. Steep is a slope above 30 % of
    what the steepest 2 % of all pixels have, so faint texture leaves none.
    """
    smooth = np.nan_to_num(np.asarray(image, dtype=np.float32))
    positive = gaussian_laplace(smooth, sigma) > 0
    crossing = np.zeros(positive.shape, dtype=bool)
    crossing[:-1] |= positive[:-1] != positive[1:]
    crossing[:, :-1] |= positive[:, :-1] != positive[:, 1:]
    slope = gaussian_gradient_magnitude(smooth, sigma)
    return np.asarray(crossing & (slope > 0.3 * np.percentile(slope, 98)))


def data_uri(picture: PIL.Image.Image) -> str:
    """Return a picture as a ``data:`` address that holds it whole, in WebP; a layer without loss."""
    stream = io.BytesIO()
    quality = _GREY_QUALITY if picture.mode == "L" else _COLOUR_QUALITY
    picture.save(stream, format="webp", quality=quality, lossless=picture.mode == "RGBA")
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def css_gradient(colours: Colormap) -> str:
    """Return a colour map as a CSS gradient from left to right."""
    return f"linear-gradient(to right, {', '.join(to_hex(colours(place)) for place in (0.0, 0.25, 0.5, 0.75, 1.0))})"


def _shrunk(image: Image) -> Image:
    """Return an image no larger than ``_LARGEST_SIDE``, smoothed as far as that asks for; NaN spreads."""
    factor = _LARGEST_SIDE / max(image.shape)
    if factor >= 1:
        return np.asarray(image, dtype=np.float32)
    columns, rows = (max(round(side * factor), 1) for side in reversed(image.shape))
    picture = PIL.Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(picture.resize((columns, rows), PIL.Image.Resampling.BOX))


_TEMPLATES.filters |= {
    "picture": lambda tile: data_uri(painted(tile.image, tile.scale)),
    "outlines": lambda image: data_uri(outlines(image)),
    "gradient": css_gradient,
}
