# SPDX-License-Identifier: Apache-2.0
"""Score every slice of an evaluation, and write table, CSV files and montages when it is done."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from bundle.files import writable_folder
from bundle.keys import CASE, HIGH_RES, IMAGE, LOW_RES, PRED, REFERENCE, SLICES, SUBJECT
from bundle.metrics import psnr, ssim
from bundle.reports.case import save_case_montage
from bundle.reports.scores import ScoreSheet

logger = logging.getLogger(__name__)

METRICS = {"PSNR": psnr, "SSIM": ssim}
SUPER_RES = "super_res"


def protocol(factor: float, magnitude: bool, normalise: str) -> str:
    """Return in words how the low-res was made and what was scored."""
    kind = "magnitude" if magnitude else "real part"
    return (
        f"{factor:g}x zero-filled in k-space ({kind}), high-res normalised per {normalise} to [0, 1]; whole slices that "
        "hold tissue; PSNR with peak 1; SSIM with a uniform 7 x 7 window."
    )


class EvaluationReport:
    """Compare low-res and super-res with the ground truth, slice by slice (SPEC of the scores: ``bundle.metrics``).

    Writes ``slices.csv``, ``subjects.csv``, ``table.md`` and a montage per case into a folder, and logs the
    table. Attach it to an evaluator without decollation or with; the batch must hold one case.

    Args:
        output_dir: folder of the report.
        protocol: how the low-res was made and what was scored: the footnote of the table.
    """

    def __init__(self, output_dir: str | os.PathLike[str], protocol: str) -> None:
        self.output_dir = Path(output_dir)
        self.protocol = protocol
        self.scores = ScoreSheet()

    def attach(self, engine: Engine) -> None:
        """Score after every case; write at the end."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add_case)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, _: Engine) -> None:
        """Begin with an empty sheet."""
        writable_folder(self.output_dir)
        self.scores = ScoreSheet()

    def add_case(self, engine: Engine) -> None:
        """Score the case that the engine has just finished, and draw its montage."""
        (item,) = _decollated(engine.state.batch)
        (output,) = _decollated(engine.state.output)
        volumes = {
            LOW_RES: item[LOW_RES],
            SUPER_RES: output[PRED],
            HIGH_RES: item[HIGH_RES],
            REFERENCE: item[REFERENCE],
        }
        volumes = {name: torch.as_tensor(volume).float().cpu() for name, volume in volumes.items()}
        indices = torch.as_tensor(item[SLICES]).flatten().tolist()
        slices = {name: volume.movedim(-1, 0) for name, volume in volumes.items()}  # D, 1, H, W
        scores = {}
        for name in (LOW_RES, SUPER_RES):
            scores[name] = {metric: score(slices[HIGH_RES], slices[name]) for metric, score in METRICS.items()}
            self.scores.add(item[SUBJECT], item[CASE], name, scores[name], indices)
        path = self.output_dir / f"{item[CASE]}.png"
        save_case_montage(path, volumes, item[IMAGE].affine, scores, indices)

    def write(self, _: Engine) -> None:
        """Write the table and the CSV files; log the table."""
        self.scores.write(self.output_dir)
        table = self.scores.table(self.protocol)
        (self.output_dir / "table.md").write_text(table + "\n")
        logger.info("%s\n\n%s\n", self.output_dir, table)


def _decollated(batch: Any) -> list[Mapping[Any, Any]]:
    """Return the items of a batch of one, whether or not MONAI has already taken it apart."""
    return batch if isinstance(batch, list) else [{k: v[0] if isinstance(v, (Tensor, list)) else v for k, v in batch.items()}]
