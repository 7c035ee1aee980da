# SPDX-License-Identifier: Apache-2.0
"""The quality page of a case: one HTML file to look at before its output is relied on."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import PIL.Image

from bundle.case import Case
from bundle.drawing.case_slices import CaseSlices, Scores
from bundle.drawing.tile import Tile
from bundle.keys import LOW_RES, PRED, REFERENCE, UNCERTAINTY
from bundle.pages.case_tiles import DIFFERENCE_LIMIT, UNCERTAINTY_LIMIT, case_tiles, with_scores
from bundle.pages.embedded import data_uri, painted
from bundle.pages.fact_text import FactGroup, fact_groups, sentence_text
from bundle.pages.template import render

_THUMBNAIL_HEIGHT = 96


class Origin(NamedTuple):
    """Where an output comes from: names of files by what they are, such as ``Input``, the version, and when."""

    files: Mapping[str, str]
    version: str
    made: datetime


def case_page(record: Case, images: CaseSlices, origin: Origin) -> str:
    """Return the page of a case as HTML that needs no other file and no network.

    It shows the record's warnings and facts, and slices as :func:`bundle.pages.case_tiles.case_tiles` takes them. A
    ``meta`` element ``thumbnail`` at its head holds a small picture, input beside output, for the batch's page.
    """
    images = with_scores(images)
    tiles = case_tiles(images)
    return render(
        "case.html",
        case=record,
        warnings=[sentence_text(warning) for warning in record.warnings],
        origin=origin,
        slices=dict(zip(images.slices, tiles, strict=True)),
        ratio=tiles[0][0].ratio,
        sides=images.sides,
        groups=fact_groups(record.facts()) + _score_groups(images.scores),
        has_reference=REFERENCE in images.images,
        has_uncertainty=UNCERTAINTY in images.images,
        thumbnail=_thumbnail(tiles[len(tiles) // 2]),
        difference_limit=DIFFERENCE_LIMIT,
        uncertainty_limit=UNCERTAINTY_LIMIT,
    )


def _score_groups(scores: Sequence[Scores]) -> list[FactGroup]:
    """Return the mean scores of the slices shown, where there is a ground truth."""
    rows = []
    for name, image in (("input", LOW_RES), ("output", PRED)) if scores else ():
        means = {metric: np.mean([of_slice[image][metric] for of_slice in scores]) for metric in scores[0][image]}
        rows += [(f"PSNR of the {name}", f"{means['psnr']:.2f} dB"), (f"SSIM of the {name}", f"{means['ssim']:.3f}")]
    return [("Against the high-res image, mean of the slices shown", rows)] if rows else []


def _thumbnail(tiles: Sequence[Tile]) -> str:
    """Return input and output of a slice, side by side."""
    width = max(round(_THUMBNAIL_HEIGHT * tiles[0].ratio), 1)
    both = PIL.Image.new("RGB", (2 * width, _THUMBNAIL_HEIGHT))
    for position, tile in enumerate(tiles[:2]):
        both.paste(painted(tile.image, tile.scale).resize((width, _THUMBNAIL_HEIGHT)), (position * width, 0))
    return data_uri(both)
