# SPDX-License-Identifier: Apache-2.0
"""Score every slice of an evaluation, and write table, CSV files and montages when it is done."""

import logging
import os
from pathlib import Path

import torch
from ignite.engine import Engine, Events

from bundle.files import atomic_path, writable_folder
from bundle.keys import CASE, HIGH_RES, IMAGE, LOW_RES, PRED, REFERENCE, SLICES, SUBJECT
from bundle.metrics import METRICS
from bundle.reports.case import save_case_montage
from bundle.reports.scores import ScoreSheet

logger = logging.getLogger(__name__)

SUPER_RES = "super_res"


def protocol(factor: float, magnitude: bool, normalise: str) -> str:
    """Return in words how the low-res was made and what was scored."""
    kind = "magnitude" if magnitude else "real part"
    return (
        f"{factor:g}x zero-filled in k-space ({kind}), high-res normalised per {normalise} to [0, 1]; whole slices "
        "that hold tissue; PSNR in dB with peak 1; SSIM with a uniform 7 x 7 window."
    )


class EvaluationReport:
    """Compare low-res and super-res with the ground truth, slice by slice.

    Writes ``slices.csv``, ``subjects.csv``, ``table.md`` and a montage per case into a folder, and logs the
    table. The evaluator it is attached to decollates batches of one case, as MONAI's do.

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
        (item,), (output,) = engine.state.batch, engine.state.output
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
        with atomic_path(self.output_dir / "table.md") as temporary:
            temporary.write_text(table + "\n", encoding="utf-8")
        logger.info("%s\n\n%s\n", self.output_dir, table)
