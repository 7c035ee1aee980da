# SPDX-License-Identifier: Apache-2.0
"""What can be learned about an output by asking the network again: spread, influence of the reference, disagreement."""

import copy
import functools
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import Tensor, nn

from bundle.case import Case
from bundle.doubts import Doubt
from bundle.drawing.slice_choice import quartile_slices
from bundle.engines import GeneratorLoader
from bundle.keys import CASE, IMAGE, PRED, SHOWN_UNCERTAINTY, UNCERTAINTY
from bundle.settings import TrainingRecord
from bundle.transforms.data_consistency import consistency_of, through_plane_of
from bundle.trust.influence import reference_influence
from bundle.trust.profile import slices_with_tissue
from bundle.trust.spread import PASSES, Finish, Predict, predictive_spread
from bundle.volumes.intensity import tissue_threshold

Item = dict[Hashable, Any]

SHARE_OF_TIME: Final = 0.1  # of the network's passes for the output, how many more may be made to check it
CHUNK_PIXELS: Final = 2**19  # of slices that are looked at together; projections take about 50 bytes for each
LARGEST_INFLUENCE: Final = 1.0  # of a removed reference; 0.86 on held-out data, 0.69 to 0.87 on others (docs/trust.md)
LARGEST_DISAGREEMENT: Final = 0.04  # 1.5 times that on held-out data, 0.026; 0.048 with a reference of another place


@dataclass(eq=False)
class NetworkChecksd(Transform):
    """Check an output by further passes of the network that made it.

    Place it between the network and data consistency. It notes how far the output disagrees with what was measured
    (all slices), how much it changes when the reference is replaced (one slice), and how far passes that should
    agree lie apart: of a few slices, or as a map of the volume. The output itself stays the plain pass, so that it
    does not depend on these settings. Spread and influence are those of the final output: after data consistency,
    where it follows. The case gets the findings ``data_consistency``, ``influence`` and ``uncertainty``.
    """

    inferer: Inferer
    network: nn.Module
    magnitude: bool = True  # whether the low-res image is one
    consistent: bool = True  # whether data consistency follows
    members: Sequence[nn.Module] = ()  # further networks of an ensemble, which take part in the spread alone
    uncertainty: bool = False  # a map of the whole volume, by len(PASSES) times the work, for each member again

    def __call__(self, data: Mapping[Hashable, Any]) -> Item:
        """Return the item with ``uncertainty`` (1, H, W, D), or with ``shown_uncertainty``.

        It holds ``image`` (2, H, W, D), the network's input, and ``pred`` (1, H, W, D), its output.
        """
        item = dict(data)
        item[CASE] = Case.of(item)
        self._disagree(item)
        if through_plane_of(item):  # passes of single slices say nothing of reformats
            if self.uncertainty:
                said = "No map of uncertainty is made where finer slices are made of thick ones."
                item[CASE].warn(Doubt.NO_UNCERTAINTY, said)
            return item
        shown = self._shown(item)
        if not shown:
            return item
        if item[IMAGE][1].any():  # there is a reference
            self._influence(item, shown[len(shown) // 2])
        if self.uncertainty:
            volume = torch.cat([self._spread(item, part) for part in _chunks(item[PRED])]).movedim(0, -1)
            item[UNCERTAINTY] = MetaTensor(volume, meta=item[IMAGE].meta)
            spreads = {position: volume[0, ..., position] for position in shown}
        else:
            spreads = {position: self._spread(item, slice(position, position + 1))[0, 0] for position in shown}
            item[SHOWN_UNCERTAINTY] = spreads
        level = float(np.mean([_level(spread, item[PRED].as_tensor()[0, ..., p]) for p, spread in spreads.items()]))
        n_passes = len(PASSES) * (1 + len(self.members))
        found = {"typical": level, "n_passes": n_passes, "slices": list(spreads), "whole": self.uncertainty}
        item[CASE].measured["uncertainty"] = found
        return item

    def _shown(self, item: Item) -> list[int]:
        """Return which slices to ask about: as many of those that a page shows as time allows, at least one."""
        tissue = slices_with_tissue(item[IMAGE].as_tensor()[0].numpy(force=True))
        if not len(tissue):
            return []
        n_slices = (SHARE_OF_TIME * len(tissue) - 2) / (len(PASSES) - 1)
        return quartile_slices(tissue.tolist(), 3 if self.uncertainty else min(3, max(1, int(n_slices))))

    def _disagree(self, item: Item) -> None:
        norms, consistency = np.zeros(2), consistency_of(item, self.magnitude)
        if thick := through_plane_of(item):
            volumes = (item[PRED].as_tensor().float(), item[IMAGE].as_tensor()[:1].float())
            norms += np.square(thick.disagreement(*volumes, consistency))
        else:
            for part in _chunks(item[PRED]):
                output, low_res = _slices(item[PRED], part).float(), _input(item, part)[:, :1].float()
                norms += np.square(consistency.disagreement(output, low_res))
        share = float(np.sqrt(norms[0] / norms[1])) if norms[1] else 0.0
        item[CASE].measured["data_consistency"] = {"disagreement": share, "restored": self.consistent}
        if share > LARGEST_DISAGREEMENT:
            item[CASE].warn(
                Doubt.DISAGREEMENT,
                f"The network's own output disagrees with the measured k-space by {share:.1%}, more than with images "
                "like those of training: check that the reference fits, and look for detail that the input does not "
                "support.",
            )

    def _influence(self, item: Item, position: int) -> None:
        image, (predict, *_), finish, plain = self._asked(item, slice(position, position + 1))
        mirror_axis = -2 + int(np.argmax(np.abs(item[IMAGE].affine[0, :2].numpy(force=True))))
        found = reference_influence(image, predict, finish, plain, mirror_axis)
        item[CASE].measured["influence"] = {"slice": position, **found}
        if found["removed"] > LARGEST_INFLUENCE:
            item[CASE].warn(
                Doubt.INFLUENCE,
                "The reference decides more of the output than in any image that was tried: structures of the "
                "reference may appear in it; compare the output with the input by eye.",
            )

    def _spread(self, item: Item, part: slice) -> Tensor:
        return predictive_spread(*self._asked(item, part))[1].cpu()

    def _asked(self, item: Item, part: slice) -> tuple[Tensor, list[Predict], Finish, Tensor]:
        """Return of some slices the input, the networks, the output's own first, what follows, and the plain output."""
        image, consistency = _input(item, part), consistency_of(item, self.magnitude)
        low_res = image[:, :1].float()

        def finish(output: Tensor) -> Tensor:
            return consistency.restored(output.float(), low_res) if self.consistent else output.float()

        networks = (self.network.eval(), *self.members)
        predictors: list[Predict] = [functools.partial(self._predict, network) for network in networks]
        return image, predictors, finish, _slices(item[PRED], part)

    def _predict(self, network: nn.Module, slices: Tensor) -> Tensor:
        return self.inferer(slices.movedim(0, -1)[None], network)[0].movedim(-1, 0)  # as a volume (1, 2, H, W, N)


def ensemble(paths: Sequence[str | os.PathLike[str]], network: nn.Module, record: TrainingRecord) -> list[nn.Module]:
    """Load further weights of the same architecture; ``record`` is of those that make the output.

    An ``InputError`` says where one cannot be loaded or was trained for something else.
    """
    members = []
    for path in paths:
        member = copy.deepcopy(network)
        GeneratorLoader(path, member, record.model, record.reference_contrast).load()
        members.append(member.eval())
    return members


def _input(item: Item, part: slice) -> Tensor:
    return _slices(item[IMAGE], part).to(item[PRED].device)


def _slices(volume: MetaTensor, part: slice) -> Tensor:
    """Return slices (N, C, H, W) of a volume (C, H, W, D)."""
    return volume.as_tensor()[..., part].movedim(-1, 0)


def _chunks(volume: Tensor) -> list[slice]:
    """Return ranges of slices that cover a volume (C, H, W, D)."""
    _, height, width, n_slices = volume.shape
    count = max(1, CHUNK_PIXELS // (height * width))
    return [slice(start, start + count) for start in range(0, n_slices, count)]


def _level(spread: Tensor, output: Tensor) -> float:
    """Return the root mean square of the spread in the tissue of a slice, relative to the mean there."""
    voxels, deviation = output.float().numpy(force=True), spread.numpy(force=True)
    tissue = voxels > tissue_threshold(voxels)
    return float(np.sqrt(np.mean(deviation[tissue] ** 2)) / voxels[tissue].mean()) if tissue.any() else 0.0
