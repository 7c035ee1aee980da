# SPDX-License-Identifier: Apache-2.0
"""The quality page of a case: one HTML file to look at before its output is relied on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch

from bundle.case import Case
from bundle.drawing.case_slices import CaseSlices, Scores, scores_by_slice
from bundle.drawing.slice_choice import grey_limit, grey_window
from bundle.drawing.tile import GREY, SIGNED, UNSIGNED, Scale, Tile
from bundle.keys import HIGH_RES, INTERVAL, LOW_RES, PRED, REFERENCE
from bundle.metrics import psnr, ssim
from bundle.metrics.score_text import format_score
from bundle.pages.fact_text import FactGroup, fact_groups, sentence_text
from bundle.pages.residual import kspace_residual, measured_block
from bundle.pages.template import TONES, data_uri, painted, render

_THUMBNAIL_HEIGHT = 96
# Ends of scales, as parts of the grey window: the same on every page, so pages compare.
DIFFERENCE_LIMIT = 0.2
_MINUS = "\N{MINUS SIGN}"


class Origin(NamedTuple):
    """Where an output comes from: names of files by what they are, such as ``Input``, the version, and when."""

    files: Mapping[str, str]
    version: str
    made: datetime
    batch: str = ""  # address of the page of the batch from this one; empty where there is none


def case_page(record: Case, images: CaseSlices, origin: Origin) -> str:
    """Return the page of a case as HTML that needs no other file, with a ``meta`` element ``thumbnail`` at its head."""
    images = with_scores(images)
    tiles = case_tiles(images)
    told = record.told()
    return render(
        "case.html",
        case=record,
        verdict=told["verdict"],
        headline=told["headline"],
        tone=TONES[told["verdict"]],
        warnings=[sentence_text(warning) for warning in told["warnings"]],
        origin=origin,
        slices=dict(zip(images.slices, tiles, strict=True)),
        ratio=tiles[0][0].ratio,
        images=images,
        groups=fact_groups(record.facts()) + _score_groups(images.scores),
        thumbnail=_thumbnail(tiles[len(tiles) // 2]),
        difference_limit=DIFFERENCE_LIMIT,
    )


def _score_groups(scores: Sequence[Scores]) -> list[FactGroup]:
    rows = []
    for name, image in (("input", LOW_RES), ("output", PRED)) if scores else ():
        means = {metric: np.mean([of_slice[image][metric] for of_slice in scores]) for metric in scores[0][image]}
        rows += [(f"PSNR of the {name}", f"{means['psnr']:.2f} dB"), (f"SSIM of the {name}", f"{means['ssim']:.3f}")]
    return [("Against the high-res image, mean of the slices shown", rows)] if rows else []


def _thumbnail(tiles: Sequence[Tile]) -> str:
    width = max(round(_THUMBNAIL_HEIGHT * tiles[0].ratio), 1)
    both = PIL.Image.new("RGB", (2 * width, _THUMBNAIL_HEIGHT))
    for position, tile in enumerate(tiles[:2]):
        both.paste(painted(tile.image, tile.scale).resize((width, _THUMBNAIL_HEIGHT)), (position * width, 0))
    return data_uri(both)


def with_scores(case: CaseSlices) -> CaseSlices:
    """Return a case with PSNR and SSIM of input and output in whole slices, where there is a ground truth."""
    if HIGH_RES not in case.images:
        return case
    truth, *images = (torch.tensor(case.images[name])[:, None] for name in (HIGH_RES, LOW_RES, PRED))
    pairs = zip((LOW_RES, PRED), images, strict=True)
    scores = {name: {"psnr": psnr(truth, image), "ssim": ssim(truth, image)} for name, image in pairs}
    return replace(case, scores=scores_by_slice(scores, range(len(truth))))


def case_tiles(case: CaseSlices) -> list[list[Tile]]:
    """Return the tiles of each slice: input, output, and what helps to judge the output.

    The case has whole slices of ``low_res`` and ``pred``, and any of ``reference``, ``high_res`` and ``interval``.
    Scores, where there are any, become a caption.
    """
    limit, box = grey_window([*case.images[LOW_RES], *case.images[PRED]])
    cropped = replace(case, images={name: box.crop(image) for name, image in case.images.items()})
    return [
        [replace(tile, description=f"Slice {index}: {tile.description}.") for tile in _tiles(cropped, k, case, limit)]
        for k, index in enumerate(case.slices)
    ]


def _tiles(case: CaseSlices, position: int, whole: CaseSlices, limit: float) -> Iterator[Tile]:
    images = {name: image[position] for name, image in case.images.items()}
    reference = images.get(REFERENCE)
    tile, grey = partial(Tile, aspect=case.aspect, sides=case.sides), Scale(GREY, 0, limit)
    yield tile(images[LOW_RES], grey, "Input", "the low-resolution input")
    yield tile(images[PRED], grey, "Output", "the super-resolved output")
    if reference is not None:
        own_window = Scale(GREY, 0, grey_limit(case.images[REFERENCE]))
        yield tile(reference, own_window, "Reference", "the reference of another contrast")
    ends = f"{_MINUS}{DIFFERENCE_LIMIT:.0%}", f"+{DIFFERENCE_LIMIT:.0%}"
    signed = Scale(SIGNED, -DIFFERENCE_LIMIT * limit, DIFFERENCE_LIMIT * limit, ends)
    yield tile(images[PRED] - images[LOW_RES], signed, f"Output {_MINUS} input", "what the network changed")
    yield _residual_tile(whole, position)
    if INTERVAL in images:
        unsigned = Scale(UNSIGNED, 0, DIFFERENCE_LIMIT * limit, ("0%", f"{DIFFERENCE_LIMIT:.0%}"))
        yield tile(images[INTERVAL], unsigned, "Error bars", "what nine of ten errors stay below")
    if HIGH_RES in images:
        caption = "the truth, which was made low-res for this run"
        yield tile(images[HIGH_RES], grey, "High-res", "the ground truth", caption)
        caption = _scores_text(case.scores[position]) if case.scores else ""
        yield tile(images[PRED] - images[HIGH_RES], signed, f"Output {_MINUS} high-res", "the output's error", caption)


def _residual_tile(whole: CaseSlices, position: int) -> Tile:
    low_res, output = (whole.images[name][position] for name in (LOW_RES, PRED))
    rows, columns = output.shape
    block = whole.n_measured and measured_block((rows, columns), whole.n_measured)
    residual = kspace_residual(low_res, output, block)
    caption = f"in the box {residual.inside:.1%} off the input; {residual.added:.1%} of the output lies outside"
    scale = Scale(UNSIGNED, 0, 1, ("measured", "added"))
    description = "the share of each frequency that was not measured but added"
    aspect = columns / (rows * whole.aspect)  # a square field of view of k-space has sides of 1 / voxel size
    return Tile(residual.share, scale, "K-space residual", description, caption if block else "", aspect, mark=block)


def _scores_text(scores: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(
        f"{name} {format_score('psnr', scores[image]['psnr'])} dB, SSIM {format_score('ssim', scores[image]['ssim'])}"
        for name, image in (("input", LOW_RES), ("output", PRED))
    )
