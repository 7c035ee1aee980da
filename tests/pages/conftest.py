# SPDX-License-Identifier: Apache-2.0
"""A case to draw, and a reader of pages."""

import base64
import io
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from bundle.drawing.case_slices import CaseSlices
from bundle.keys import HIGH_RES, INTERVAL, LOW_RES, PRED, REFERENCE
from bundle.kspace import zero_fill
from bundle.pages import Origin

_VOID = {"meta", "link", "img", "input", "br", "hr"}


class ParsedPage(HTMLParser):
    """What a browser would find in a page: elements in order, and the text in each."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[int] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.texts.append("")
        if tag not in _VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag, f"<{tag}> is not closed where it should be"

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.texts[index] += data

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of all elements of a kind."""
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]

    def text(self, tag: str) -> list[str]:
        """The texts of all elements of a kind."""
        return [text for (name, _), text in zip(self.elements, self.texts, strict=True) if name == tag]

    def addresses(self) -> list[str]:
        """Everything that a browser might fetch or follow."""
        return [
            found[name] for _, found in self.elements for name in ("src", "href", "srcset", "data") if name in found
        ]


def decode(address: str) -> Image.Image:
    """Open the picture of a ``data:`` address."""
    head, _, content = address.partition(",")
    assert head == "data:image/webp;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
    picture.load()
    return picture


@pytest.fixture(scope="session")
def parse() -> Callable[[str], ParsedPage]:
    return ParsedPage


@pytest.fixture(scope="session")
def picture_of() -> Callable[[str], Image.Image]:
    return decode


def head_volumes(shape: tuple[int, int] = (48, 40), n: int = 3, factor: float = 2) -> dict[str, np.ndarray]:
    """Volumes (H, W, n) of a textured disc: low-res, an output between it and the truth, another contrast."""
    random = np.random.default_rng(0)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = ((rows / shape[0] - 0.5) ** 2 + (columns / shape[1] - 0.5) ** 2 < 0.09)[..., None]
    texture = gaussian_filter(random.random((*shape, n)), (1, 1, 0))
    truth = (inside * (0.3 + texture)).astype(np.float32)
    slices = torch.from_numpy(truth).movedim(-1, 0)[:, None]
    low_res = zero_fill(slices, factor)[:, 0].movedim(0, -1).numpy()
    return {
        LOW_RES: low_res,
        PRED: 0.2 * low_res + 0.8 * truth,
        REFERENCE: (inside * (1 - 0.5 * texture)).astype(np.float32),
        HIGH_RES: truth,
        INTERVAL: np.full_like(truth, 0.01),
    }


@pytest.fixture
def volumes() -> dict[str, np.ndarray]:
    return head_volumes()


@pytest.fixture
def images(volumes: dict[str, np.ndarray]) -> CaseSlices:
    """Axial slices 4, 7 and 9 whose first axis runs to the left and whose second to the front."""
    affine = np.diag([-0.5, 0.8, 4.0, 1.0])
    return CaseSlices.of(volumes, affine, slices=[4, 7, 9], n_measured=(24, 20))


@pytest.fixture
def origin() -> Origin:
    files = {"Input": "sub-01_T2w.nii.gz", "Reference": "sub-01_T1w.nii.gz", "Weights": "model.pt"}
    return Origin(files, "1.2.3", datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
