# SPDX-License-Identifier: Apache-2.0
"""The slices of a case that its quality page shows, hung as a radiologist would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bundle.drawing.orientation import display_orientation
from bundle.drawing.slice_choice import Box, Image, tissue_box
from bundle.drawing.windows import grey_limit
from bundle.keys import LOW_RES, PRED
from bundle.pages.residual import KspaceResidual, measured_block

_BACKGROUND = 0.05  # of the grey window: darker pixels do not keep a picture from being cropped


@dataclass(frozen=True)
class CaseImages:
    """A few slices of a case's volumes, as a run left them.

    Attributes:
        volumes: arrays (H, W, n) by key, on one grid: ``low_res``, ``pred`` and ``reference``, where there is one
            ``high_res`` and ``uncertainty``.
        affine: 4 x 4 of the volumes, voxel index to mm, RAS+.
        slices: the n slices' indices in the file, counted from 0.
        n_measured: samples of k-space that were measured along H and W; ``None`` where that is not known.
    """

    volumes: Mapping[str, Image]
    affine: npt.NDArray[np.float64]
    slices: Sequence[int]
    n_measured: tuple[int, int] | None = None


@dataclass(frozen=True)
class ShownSlices:
    """Slices in display orientation, cropped to the head.

    Attributes:
        images: arrays (rows, columns, n) by key.
        whole: the same before cropping.
        residual: of k-space, in display orientation.
        block: the measured block in it.
        aspect: height of a pixel divided by its width.
        sides: the patient's sides at the left and at the top.
        slices: indices in the file.
        limit: upper end of the grey window of the target, input and output alike.
    """

    images: Mapping[str, Image]
    whole: Mapping[str, Image] = field(repr=False)
    residual: KspaceResidual
    block: Box | None
    aspect: float
    sides: tuple[str, str]
    slices: Sequence[int]
    limit: float

    @classmethod
    def of(cls, case: CaseImages) -> "ShownSlices":
        """Turn, compare and crop the slices of a case."""
        turned = {key: display_orientation(volume, case.affine) for key, volume in case.volumes.items()}
        whole = {key: np.asarray(display.volume, dtype=np.float32) for key, display in turned.items()}
        display = turned[PRED]
        block = None if case.n_measured is None else _displayed_block(case, case.n_measured)
        limit = grey_limit([whole[LOW_RES], whole[PRED]])
        compared = [np.nan_to_num(whole[key]).max(axis=-1) for key in (LOW_RES, PRED)]
        box = tissue_box(compared, _BACKGROUND * limit)
        return cls(
            images={key: box.crop(volume) for key, volume in whole.items()},
            whole=whole,
            residual=KspaceResidual.of(whole[LOW_RES], whole[PRED], block),
            block=block,
            aspect=display.aspect,
            sides=(display.left, display.top),
            slices=list(case.slices),
            limit=limit,
        )


def _displayed_block(case: CaseImages, n_measured: tuple[int, int]) -> Box:
    """Return the measured block in display orientation.

    Display turns slices by exchanging and reversing axes. Reversing an image keeps each frequency's amplitude in
    its place, since the image is real; so only whether the axes were exchanged matters.
    """
    height, width = case.volumes[PRED].shape[:2]
    along_h = np.broadcast_to(np.arange(height)[:, None, None], (height, width, 1))
    turned = display_orientation(along_h, case.affine).volume
    exchanged = turned[0, 0, 0] != turned[0, -1, 0]
    rows, columns = reversed(n_measured) if exchanged else n_measured
    return measured_block((turned.shape[0], turned.shape[1]), (rows, columns))
