# SPDX-License-Identifier: Apache-2.0
"""A look at a data set before the first training, as ``mcsr check`` gives it: what trains, what does not, and why."""

from collections.abc import Iterator, Mapping
from typing import Final

from bundle.data import find_pairs
from bundle.data.reading import read_volume
from bundle.data.selection import check_pairs, raise_failures
from bundle.keys import CASE, IMAGE, REFERENCE, SUBJECT
from bundle.reports.text_table import markdown_table
from bundle.settings import PathLike, Recipe
from bundle.volumes.geometry import Volume, reorient_like, same_grid, through_plane_axis

HEADER: Final = ("case", "slices", "matrix", "voxel (mm)", "reference", "to look at")
FEW_SLICES: Final = 8  # below which a volume is hardly worth the work, or has another slice axis than it seems
N_SUBJECTS: Final = 3  # one each to train, to validate and to test


class DatasetCheck:
    """Read every pair of a data set, as training will, and tell what was found.

    ``InputError`` if there are no pairs, or once all are read, by :meth:`raise_failures`, for those of no use.
    """

    def __init__(self, dataset_dir: PathLike, reference_contrast: str = "auto") -> None:
        self.pairs = find_pairs(dataset_dir, reference_contrast)
        self.rows: list[tuple[str, ...]] = []
        self.usable, self.failures = check_pairs(self.pairs, self._read)

    def text(self) -> str:
        """Return a row for each case, and below what training would make of all."""
        rows = [*self.rows, *((case, *"----", "cannot be used, see above") for case in self.failures)]
        return "\n\n".join([markdown_table(HEADER, rows), *self._summary()])

    def raise_failures(self) -> None:
        """Name the cases that cannot be used, at which a training would stop."""
        raise_failures(self.failures, len(self.pairs), "can be used")

    def _read(self, pair: Mapping[str, str]) -> None:
        target, reference = read_volume(pair[IMAGE]), read_volume(pair[REFERENCE])
        axis = through_plane_axis(target.spacing, target.voxels.shape)
        matrix = [n for k, n in enumerate(target.voxels.shape) if k != axis]
        self.rows.append(
            (
                pair[CASE],
                str(target.voxels.shape[axis]),
                " x ".join(map(str, matrix)),
                " x ".join(f"{size:.3g}" for size in target.spacing),
                "same grid" if same_grid(target, reorient_like(reference, target)) else "other grid: registered",
                "; ".join(_remarks(target, axis, min(matrix))),
            )
        )

    def _summary(self) -> Iterator[str]:
        n_subjects = len({pair[SUBJECT] for pair in self.usable})
        yield f"{len(self.usable)} of {len(self.pairs)} pairs of {n_subjects} subjects can train."
        if n_subjects < N_SUBJECTS:
            yield f"Training wants {N_SUBJECTS} subjects at least: one to train, one to validate, one to test."


def _remarks(target: Volume, axis: int, narrowest: int) -> Iterator[str]:
    """Yield what is unusual of a volume, a few words each."""
    in_plane = [size for k, size in enumerate(target.spacing) if k != axis]
    if target.voxels.shape[axis] < FEW_SLICES:
        yield "few slices"
    if max(target.spacing) < 1.5 * min(target.spacing):
        yield "nearly cubic voxels: no natural slices"
    if max(in_plane) > 1.2 * min(in_plane):
        yield "voxels not square in the plane"
    if narrowest < Recipe.patch_size:
        yield f"narrower than a patch: train with --patch_size {max(narrowest // 8 * 8, 24)}"
