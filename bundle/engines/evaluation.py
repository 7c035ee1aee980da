# SPDX-License-Identifier: Apache-2.0
"""Score every slice of an evaluation, and write table, CSV files and montages when it is done."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from bundle.drawing.slice_choice import quartile_slices
from bundle.files import atomic_path, writable_folder
from bundle.keys import CASE, HIGH_RES, IMAGE, LEVEL_TARGETS, LOW_RES, REFERENCE, REPORTED, SLICES, SUBJECT
from bundle.kspace import in_plane_factors
from bundle.metrics import HEAD_METRICS, METRICS, head_mask
from bundle.parallel import is_first
from bundle.reports.evaluated_case import save_case_montage, save_case_panels
from bundle.reports.score_sheet import ScoreSheet

logger = logging.getLogger(__name__)


def protocol(
    magnitude: bool, normalise: str, factor: float | Sequence[float] | None, noise: float, bias_field: float
) -> str:
    """Return in words how the low-res was made and what was scored; without the factor where there are several."""
    kind = "magnitude" if magnitude else "real part"
    factors = [] if factor is None else sorted(set(in_plane_factors(factor)), reverse=True)
    degree = "Zero-filled" if factor is None else f"{' and '.join(f'{f:g}x' for f in factors)} zero-filled"
    scan = f"Simulated with noise {noise:g} and a receive field of 1 ± {bias_field:g}. " if noise or bias_field else ""
    return (
        f"{scan}{degree} in k-space ({kind}), high-res normalised per {normalise} to [0, 1]; whole slices "
        "that hold tissue; PSNR in dB with peak 1; SSIM with a uniform 7 x 7 window; IFC in bits per pixel. "
        "In the head: the same scores over what lies within the outline of the high-res's tissue. "
        "SR + DC: the measured block of k-space put back."
    )


class EvaluationReport:
    """Compare low-res and super-res with the ground truth, slice by slice.

    An output with data consistency is scored beside the one without. Writes ``slices.csv``, ``subjects.csv``,
    ``table.md`` with the ``protocol`` as its footnote, a montage per case and, as arrays, the slices it shows
    (``panels``), and logs the table. The evaluator decollates batches of one case, as MONAI's do.
    """

    def __init__(self, output_dir: str | os.PathLike[str], protocol: str) -> None:
        self.output_dir = Path(output_dir)
        self.protocol = protocol
        self.scores = ScoreSheet()

    def attach(self, engine: Engine) -> None:
        """Score after every case; write at the end."""
        engine.add_event_handler(Events.STARTED, lambda: writable_folder(self.output_dir))
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add_case)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.publish)

    def add_case(self, engine: Engine) -> None:
        """Score the case that the engine has just finished, and draw its montage."""
        (item,), (output,) = engine.state.batch, engine.state.output
        made = {name: output[key] for key, name in REPORTED.items() if key in output}
        volumes = {LOW_RES: item[LOW_RES], **made, HIGH_RES: item[HIGH_RES], REFERENCE: item[REFERENCE]}
        volumes = {name: torch.as_tensor(volume).float() for name, volume in volumes.items()}
        scores = _scores({name: volume.to(engine.state.device) for name, volume in volumes.items()})
        volumes = {name: volume.cpu() for name, volume in volumes.items()}
        indices = torch.as_tensor(item[SLICES]).flatten().tolist()
        self.scores.add(item[SUBJECT], item[CASE], indices, scores)
        save_case_montage(self.output_dir / f"{item[CASE]}.png", volumes, item[IMAGE].affine, scores, indices)
        shown = quartile_slices(range(len(indices)))
        panels = {name: volume[..., shown] for name, volume in volumes.items()} | _levels(engine, item, shown)
        path = self.output_dir / "panels" / f"{item[CASE]}.npz"
        save_case_panels(path, panels, item[IMAGE].affine, [indices[position] for position in shown])

    def publish(self, engine: Engine) -> None:
        """Write what all processes have scored; leave means such as ``super_res/psnr`` to handlers that follow."""
        self.scores = ScoreSheet(idist.all_gather(self.scores))
        *_, total = self.scores.subjects()
        for (metric, image, is_gain), spread in total.spreads.items():
            if not is_gain:
                engine.state.metrics[f"{image}/{metric}"] = spread.mean
        if not is_first():
            return
        self.scores.write(self.output_dir)
        table = self.scores.table(self.protocol)
        with atomic_path(self.output_dir / "table.md") as temporary:
            temporary.write_text(table + "\n", encoding="utf-8")
        logger.info("%s\n\n%s\n", self.output_dir, table)


def _scores(volumes: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    slices = {name: volume.movedim(-1, 0) for name, volume in volumes.items() if name != REFERENCE}  # D, 1, H, W
    high_res = slices.pop(HIGH_RES)
    head = head_mask(high_res)  # once, for all images
    found = {}
    for name, image in slices.items():
        whole = {metric: score(high_res, image) for metric, score in METRICS.items()}
        inside = {metric: score(high_res, image, head) for metric, score in HEAD_METRICS.items()}
        found[name] = {metric: values.cpu() for metric, values in (whole | inside).items()}
    return found


def _levels(engine: Engine, item: Mapping[str, Any], shown: Sequence[int]) -> dict[str, Tensor]:
    """Return what a progressive generator's levels before the last make of some slices, and what they should."""
    if LEVEL_TARGETS not in item:
        return {}
    slices = item[IMAGE].as_tensor()[None, ..., shown]  # 1, 2, H, W, n
    outputs = engine.inferer(slices.to(engine.state.device), engine.network.forward_levels)
    levels = {}
    for index, target in enumerate(item[LEVEL_TARGETS].as_tensor()):
        levels[f"level_{index + 1}"] = outputs[index][0].cpu()
        levels[f"level_{index + 1}_target"] = target[None, ..., shown].float().cpu()
    return levels
