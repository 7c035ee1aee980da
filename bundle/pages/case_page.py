# SPDX-License-Identifier: Apache-2.0
"""The quality page of a case: one HTML file to look at before its output is relied on."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import PIL.Image

from bundle.case import Case
from bundle.keys import LOW_RES, PRED, REFERENCE, UNCERTAINTY
from bundle.pages.embedded import GREY, data_uri
from bundle.pages.fact_text import FactGroup, fact_groups, sentence_text
from bundle.pages.shown_slices import CaseImages, ShownSlices
from bundle.pages.slice_views import DIFFERENCE_LIMIT, UNCERTAINTY_LIMIT, slice_views
from bundle.pages.template import render, save_page

_THUMBNAIL_HEIGHT = 96


@dataclass(frozen=True)
class Origin:
    """Where an output comes from.

    Attributes:
        files: names of the files by what they are, such as ``{"Input": "sub-01_T2w.nii.gz"}``.
        version: of this software.
        made: when.
    """

    files: Mapping[str, str]
    version: str
    made: datetime


def case_page(record: Case, images: CaseImages, origin: Origin) -> str:
    """Return the page of a case as HTML that needs no other file and no network.

    Args:
        record: warnings and facts of the case.
        images: the slices to show.
        origin: of the output.

    Returns:
        The page. A ``meta`` element named ``thumbnail`` at its head holds a small picture, input beside output, for
        the page of the batch.
    """
    shown = ShownSlices.of(images)
    first = shown.images[PRED]
    views = slice_views(shown)
    return render(
        "case.html",
        case=record,
        warnings=[sentence_text(warning) for warning in record.warnings],
        origin=origin,
        views=views,
        ratio=first.shape[1] / (first.shape[0] * shown.aspect),
        sides=shown.sides,
        groups=fact_groups(record.facts()) + _score_groups([view.scores for view in views]),
        has_reference=REFERENCE in shown.images,
        has_uncertainty=UNCERTAINTY in shown.images,
        thumbnail=_thumbnail(shown),
        difference_limit=DIFFERENCE_LIMIT,
        uncertainty_limit=UNCERTAINTY_LIMIT,
    )


def save_case_page(path: str | os.PathLike[str], record: Case, images: CaseImages, origin: Origin) -> Path:
    """Write the page of a case.

    Args:
        path: the ``.html`` to write.
        record: as for :func:`case_page`.
        images: likewise.
        origin: likewise.

    Returns:
        The path of the file.

    Raises:
        InputError: if the file cannot be written.
    """
    save_page(Path(path), case_page(record, images, origin))
    return Path(path)


def _score_groups(found: Sequence[Mapping[str, Mapping[str, float]]]) -> list[FactGroup]:
    """Return the mean scores of the slices shown, where there is a ground truth."""
    if not all(found):
        return []
    rows = []
    for name in found[0]:
        means = {metric: float(np.mean([of_slice[name][metric] for of_slice in found])) for metric in found[0][name]}
        rows.append((f"PSNR of the {name}", f"{means['psnr']:.2f} dB"))
        rows.append((f"SSIM of the {name}", f"{means['ssim']:.3f}"))
    return [FactGroup("Against the high-res image, mean of the slices shown", rows)]


def _thumbnail(shown: ShownSlices) -> str:
    """Return input and output of the middle slice, side by side."""
    middle = len(shown.slices) // 2
    pair = [GREY.paint(shown.images[key][..., middle], 0, shown.limit) for key in (LOW_RES, PRED)]
    columns, rows = pair[0].size
    width = max(round(_THUMBNAIL_HEIGHT * columns / (rows * shown.aspect)), 1)
    both = PIL.Image.new("RGB", (2 * width, _THUMBNAIL_HEIGHT))
    for position, picture in enumerate(pair):
        both.paste(picture.resize((width, _THUMBNAIL_HEIGHT)), (position * width, 0))
    return data_uri(both)
