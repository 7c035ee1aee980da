# SPDX-License-Identifier: Apache-2.0
"""Pages from templates: one file each, with style and script inside, and every text escaped."""

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bundle.files import atomic_path
from bundle.pages.embedded import css_gradient, data_uri, outlines, painted

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "picture": lambda tile: data_uri(painted(tile.image, tile.scale)),
    "outlines": lambda image: data_uri(outlines(image)),
    "gradient": css_gradient,
}


def render(template: str, **values: Any) -> str:
    """Fill a template of this package; text that comes from outside is escaped."""
    return _TEMPLATES.get_template(template).render(**values)


def save_page(path: str | os.PathLike[str], page: str) -> Path:
    """Write a page whole or not at all; what UTF-8 cannot hold, such as half of a file name, becomes ``?``.

    Raises:
        InputError: if the folder cannot be made or written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return Path(path)
