# SPDX-License-Identifier: Apache-2.0
"""The pictures of one slice on a quality page, each with its caption, its scale and a description in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bundle.drawing.slice_choice import Image
from bundle.drawing.windows import grey_limit
from bundle.keys import HIGH_RES, LOW_RES, PRED, REFERENCE, UNCERTAINTY
from bundle.metrics import psnr, ssim
from bundle.pages.embedded import GREY, SIGNED, UNSIGNED, data_uri, edge_picture
from bundle.pages.shown_slices import ShownSlices
from bundle.reports.columns import format_score

DIFFERENCE_LIMIT = 0.2
"""End of the scale of differences, as a part of the grey window: the same on every page, so pages compare."""
UNCERTAINTY_LIMIT = 0.1
"""Likewise of the uncertainty."""
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Legend:
    """A colour scale in words: its gradient, and what its ends stand for."""

    gradient: str
    low: str
    high: str


@dataclass(frozen=True)
class Frame:
    """A rectangle in percent of the picture it is drawn on."""

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class Tile:
    """One picture of a slice.

    Attributes:
        heading: its title.
        picture: ``data:`` address.
        alt: what it shows, for those who cannot see it.
        note: a line below it.
        legend: its colour scale; grey ones need none.
        edges: ``data:`` address of outlines to draw over it, or nothing.
        frame: a rectangle to mark in it.
        ratio: width by height of the picture as displayed, where it is not that of the slices.
    """

    heading: str
    picture: str
    alt: str
    note: str = ""
    legend: Legend | None = None
    edges: str = ""
    frame: Frame | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class SliceView:
    """All pictures of one slice.

    Attributes:
        index: of the slice in the file.
        before: ``data:`` address of the input.
        after: of the output.
        tiles: what stands beside them.
        scores: as :func:`scores` returns them.
    """

    index: int
    before: str
    after: str
    tiles: list[Tile]
    scores: dict[str, dict[str, float]]


def slice_views(shown: ShownSlices) -> list[SliceView]:
    """Draw every slice that a page shows."""
    return [_SliceDrawer(shown, position).view() for position in range(len(shown.slices))]


def scores(shown: ShownSlices, position: int) -> dict[str, dict[str, float]]:
    """Return PSNR and SSIM of input and output in one whole slice, where there is a ground truth."""
    if HIGH_RES not in shown.whole:
        return {}
    truth, *images = (
        torch.from_numpy(np.ascontiguousarray(shown.whole[key][..., position]))[None, None]
        for key in (HIGH_RES, LOW_RES, PRED)
    )
    return {
        name: {metric.__name__: float(metric(truth, image)) for metric in (psnr, ssim)}
        for name, image in zip(("input", "output"), images, strict=True)
    }


class _SliceDrawer:
    """Draw the pictures of one slice."""

    def __init__(self, shown: ShownSlices, position: int) -> None:
        self.shown = shown
        self.position = position
        self.images = {key: np.asarray(volume[..., position]) for key, volume in shown.images.items()}
        self.index = shown.slices[position]
        self.scores = scores(shown, position)

    def view(self) -> SliceView:
        before, after = (self._grey(self.images[key], self.shown.limit) for key in (LOW_RES, PRED))
        return SliceView(self.index, before, after, list(self._tiles(before, after)), self.scores)

    def _tiles(self, before: str, after: str) -> Iterator[Tile]:
        yield self._tile("Input", before, "the low-resolution input")
        outlines = ""
        if REFERENCE in self.images:
            outlines = data_uri(edge_picture(self.images[REFERENCE]))
        yield self._tile("Output", after, "the super-resolved output", edges=outlines)
        if REFERENCE in self.images:
            limit = grey_limit([self.shown.images[REFERENCE]])
            picture = self._grey(self.images[REFERENCE], limit)
            yield self._tile("Reference", picture, "the reference of another contrast", edges=outlines)
        yield self._difference(f"Output {_MINUS} input", LOW_RES, "what the network changed")
        yield self._residual()
        if UNCERTAINTY in self.images and np.isfinite(self.images[UNCERTAINTY]).all():
            yield self._uncertainty()
        if HIGH_RES in self.images:
            yield from self._truth()

    def _truth(self) -> Iterator[Tile]:
        picture = self._grey(self.images[HIGH_RES], self.shown.limit)
        yield self._tile("High-res", picture, "the ground truth", note="the truth, which was made low-res for this run")
        note = "; ".join(f"{name} {_scores_text(values)}" for name, values in self.scores.items())
        yield self._difference(f"Output {_MINUS} high-res", HIGH_RES, "the output's error", note)

    def _difference(self, heading: str, key: str, meaning: str, note: str = "") -> Tile:
        limit = DIFFERENCE_LIMIT * self.shown.limit
        picture = SIGNED.paint(self.images[PRED] - self.images[key], -limit, limit)
        ends = f"{_MINUS}{DIFFERENCE_LIMIT:.0%}", f"+{DIFFERENCE_LIMIT:.0%}"
        return self._tile(heading, data_uri(picture), meaning, note, legend=Legend(SIGNED.gradient, *ends))

    def _uncertainty(self) -> Tile:
        picture = UNSIGNED.paint(self.images[UNCERTAINTY], 0, UNCERTAINTY_LIMIT * self.shown.limit)
        legend = Legend(UNSIGNED.gradient, "0%", f"{UNCERTAINTY_LIMIT:.0%}")
        return self._tile("Uncertainty", data_uri(picture), "where the output is least certain", legend=legend)

    def _residual(self) -> Tile:
        residual, block = self.shown.residual, self.shown.block
        rows, columns = residual.share.shape[:2]
        note, frame = "", None
        if block is not None:
            inside, added = residual.inside[self.position], residual.added[self.position]
            note = f"in the box {inside:.1%} off the input; {added:.1%} of the output lies outside"
            frame = Frame(
                *(100.0 * part / side for part, side in zip(block, (rows, columns, rows, columns), strict=True))
            )
        return self._tile(
            "K-space residual",
            data_uri(UNSIGNED.paint(residual.share[..., self.position], 0, 1)),
            "the share of each frequency that was not measured but added",
            note,
            legend=Legend(UNSIGNED.gradient, "measured", "added"),
            frame=frame,
            ratio=self.shown.aspect,  # a square field of view of k-space has sides of 1 / voxel size
        )

    def _grey(self, image: Image, limit: float) -> str:
        return data_uri(GREY.paint(image, 0, limit))

    def _tile(self, heading: str, picture: str, meaning: str, note: str = "", **rest: Any) -> Tile:
        return Tile(heading, picture, f"Slice {self.index}: {meaning}.", note, **rest)


def _scores_text(values: dict[str, float]) -> str:
    return f"{format_score('psnr', values['psnr'])} dB, SSIM {format_score('ssim', values['ssim'])}"
