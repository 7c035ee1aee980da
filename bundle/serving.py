# SPDX-License-Identifier: Apache-2.0
"""The preprocessing as MONAI Label calls it: one image alone, and nobody who reads a traceback."""

import contextlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monai.transforms import Transform
from torch import nn

from bundle.case import Case
from bundle.data import contrast_of, named_pair, reference_beside
from bundle.engines import GeneratorLoader
from bundle.errors import InputError, input_error
from bundle.keys import CASE, IMAGE, REFERENCE

REQUEST: Final = "image_path"  # key by which MONAI Label's items are told from others
RESULT: Final = "result"  # what MONAI Label returns beside the image, as JSON
UNPROCESSABLE: Final = 422  # HTTP status of an answer that says what is wrong with the input


class ServedResultd(Transform):
    """Put what was found of a case where MONAI Label looks for what it answers beside the image."""

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the item with ``result``."""
        case = Case.of(data)
        return dict(data) | {RESULT: {"case": str(case), **case.told(), "facts": case.facts()}}


@dataclass(eq=False)
class ServedPreprocessing(Transform):
    """Prepare a pair, or a request of MONAI Label, which names one image.

    MONAI Label runs preprocessing, network and postprocessing only, and loads the weights without looking whether
    they fit. So what the run of ``configs/inference.yaml`` does before its first case is done here for a request:
    its reference is found, weights are checked, and an input error becomes an answer that shows its sentence. What
    the steps note goes into the answer, too. Any other item goes through as it is.
    """

    prepare: Callable[[Any], Any]  # from a pair of paths to the network's input
    reference_names: Mapping[str, Sequence[str]] | None  # see bundle.data.reference_beside
    weights: str | os.PathLike[str] | None  # that MONAI Label loads
    network: nn.Module  # of the architecture that they must fit
    contrast: str | None = None  # of the references that trained them, where it is known
    needs_reference: bool = True  # or an image without one goes alone

    def __call__(self, data: Mapping[Any, Any]) -> Any:
        """Return the network's input for a pair of paths, or for a request: a path under ``image``, and parameters."""
        if REQUEST not in data:
            return self.prepare(data)
        try:
            return self._serve(dict(data))
        except Exception as error:
            if found := input_error(error):
                # what FastAPI, which MONAI Label is made of, answers a request with
                answer = importlib.import_module("starlette.exceptions").HTTPException
                raise answer(UNPROCESSABLE, detail=str(found)) from error
            raise

    def _serve(self, item: dict[Any, Any]) -> Any:
        """Prepare a request."""
        if not item[IMAGE]:
            raise InputError("no image of this name is among the server's studies; give another, or add it to them.")
        reference = self._reference(item)
        pair = named_pair(item[IMAGE], reference)
        self._check_weights(item.get("model_filename"), contrast_of([pair]))
        case = Case(pair[CASE])
        item |= {**pair, CASE: case}
        # clients ask for the integers of a label map, which would cut the intensities
        item.pop("result_dtype", None)
        return self.prepare(item)

    def _reference(self, item: Mapping[Any, Any]) -> Path | None:
        """Return the reference that is named, from the image's folder, or else the one beside the image, if any."""
        if named := item.get(REFERENCE):
            return Path(item[IMAGE]).parent / Path(named).expanduser()
        with contextlib.nullcontext() if self.needs_reference else contextlib.suppress(InputError):
            return reference_beside(item[IMAGE], self.reference_names, self.contrast)
        return None

    def _check_weights(self, chosen: str | None, contrast: str | None) -> None:
        """Refuse weights of another architecture, for another contrast, or with another's training record."""
        served = os.path.basename(self.weights or "")  # noqa: PTH119 - null where a method has no weights
        if isinstance(chosen, str) and chosen != served:
            raise InputError(f"model_filename is {chosen}: this model is served with {served} only.")
        GeneratorLoader(self.weights, self.network, reference_contrast=contrast).load()
