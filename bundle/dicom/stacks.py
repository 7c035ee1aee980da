# SPDX-License-Identifier: Apache-2.0
"""The volumes among the DICOM images of a folder: a series each, or each echo, orientation and chunk of it."""

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bundle.dicom.headers import Frame, Tag, damaged, is_dicom, read_frames
from bundle.volumes.geometry import GRID_TOLERANCE

# What tells images in one place apart, tried in this order: echoes, magnitude from phase, or both.
_APART: Final = ((Tag.ECHO_TIME,), (Tag.IMAGE_TYPE,), (Tag.ECHO_TIME, Tag.IMAGE_TYPE))
_ONE_SERIES: Final = (Tag.STUDY, Tag.SERIES, Tag.PATIENT, Tag.NUMBER, Tag.DESCRIPTION, Tag.MODALITY)


@dataclass(frozen=True, eq=False)
class Stack:
    """Images that make one volume, in the order of their positions, and where to find them again."""

    frames: tuple[Frame, ...]
    path: Path  # what read_series takes: the folder, or one of several files in it, or an image of several in a file
    part: str = ""  # which of several in the folder, without naming anybody

    @property
    def tags(self) -> Mapping[str, str]:
        """What the first image says."""
        return self.frames[0].tags

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.frames[0].path.parent

    def describe(self) -> str:
        """Return what a person calls it."""
        words, number = self.tags[Tag.DESCRIPTION] or "without description", self.tags[Tag.NUMBER] or "?"
        echo = "".join(f" of echo time {time:g} ms" for time in self.frames[0].numbers(Tag.ECHO_TIME))
        return f"{number} {words}: {len(self.frames)} images{echo}, {self.path.relative_to(self.folder)}"


def stacks_in(folder: Path) -> list[Stack]:
    """Return the volumes of a folder, but not of those below; ``InputError`` if an image is damaged.

    Images are of one volume that have study, series, matrix, voxel size and orientation in common. Where several lie in
    one place, their echo times or types tell them apart; where a gap is no missing slice, chunks are apart.
    """
    frames = [frame for path in sorted(folder.iterdir()) for frame in _frames_of(path)]
    together = _grouped(frames)
    parts = [stack for group in together for echo in _without_doubles(group) for stack in _chunks(echo)]
    return list(_named(folder, parts))


def _frames_of(path: Path) -> list[Frame]:
    if is_dicom(path):
        return read_frames(path)
    if path.is_file() and path.stat().st_size == 0:
        raise damaged(path)
    return []


def _grouped(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Group by what a volume has in common, each group in the order of its positions."""
    groups: dict[tuple[Hashable, ...], list[list[Frame]]] = {}
    for frame in frames:
        spacing = tuple(round(size, 4) for size in frame.spacing)
        alike = groups.setdefault((*(frame.tags[tag] for tag in _ONE_SERIES), frame.matrix, spacing), [])
        same = (group for group in alike if np.allclose(group[0].axes, frame.axes, atol=1e-3))
        if (group := next(same, None)) is None:
            alike.append([frame])
        else:
            group.append(frame)
    # by the normal of one of them: those of the others differ in the last digits
    return [
        sorted(group, key=lambda frame: float(frame.position @ group[0].axes[:, 2]))
        for alike in groups.values()
        for group in alike
    ]


def _without_doubles(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Split images that lie in one place by what tells them apart; all together where nothing does."""
    for tags in ((), *_APART):
        parts = _split(frames, lambda frame, tags=tags: tuple(frame.tags[tag] for tag in tags))  # type: ignore[misc]
        if all(step > tolerance_of(part[0]) for part in parts for step in np.diff(heights_of(part))):
            return parts
    return [list(frames)]


def _split(frames: Sequence[Frame], key: Callable[[Frame], tuple[str, ...]]) -> list[list[Frame]]:
    found: dict[tuple[str, ...], list[Frame]] = {}
    for frame in frames:
        found.setdefault(key(frame), []).append(frame)
    return list(found.values())


def heights_of(frames: Sequence[Frame]) -> np.ndarray:
    """Return where images lie along the normal of the first, in mm."""
    return np.array([frame.position @ frames[0].axes[:, 2] for frame in frames])


def tolerance_of(frame: Frame) -> float:
    """Return how far in mm an image may lie off its place."""
    return GRID_TOLERANCE * min(frame.spacing)


def _chunks(frames: list[Frame]) -> Iterator[list[Frame]]:
    """Split a volume where it goes on elsewhere, as blocks of slices through the discs of a spine do."""
    gaps = np.diff(heights_of(frames))
    if len(gaps) < 3 or not np.all(gaps > tolerance_of(frames[0])):
        yield frames
        return
    usual = float(np.median(gaps))
    step = np.median(np.diff([frame.position for frame in frames], axis=0), axis=0)  # along the normal, or tilted
    wide = [index for index, gap in enumerate(gaps) if gap > 1.5 * usual]
    ends = [index + 1 for index in wide if _is_elsewhere(frames, index, gaps[index] / usual, step)]
    yield from (frames[start:end] for start, end in itertools.pairwise([0, *ends, len(frames)]))


def _is_elsewhere(frames: Sequence[Frame], index: int, n_steps: float, step: np.ndarray) -> bool:
    """Tell whether the gap behind an image is none that missing slices would leave."""
    here, there = frames[index], frames[index + 1]
    aside = float(np.linalg.norm(there.position - here.position - n_steps * step))
    counted = [one.numbers(Tag.INSTANCE_NUMBER) for one in (here, there)]
    follows = all(counted) and abs(counted[1][0] - counted[0][0]) == 1
    return aside > tolerance_of(here) or abs(n_steps - round(n_steps)) > 0.1 or (follows and n_steps >= 3)


def _named(folder: Path, parts: Sequence[list[Frame]]) -> Iterator[Stack]:
    """Say of each volume where it is found again: alone in its folder, alone in its file, or by its number there."""
    sources = [{frame.path for frame in part} for part in parts]
    for part, files in zip(parts, sources, strict=True):
        # the first file that no other volume has
        first = next((frame.path for frame in part if sum(frame.path in other for other in sources) == 1), None)
        shared = [other for other, paths in zip(parts, sources, strict=True) if paths & files]
        path = first or part[0].path / str(1 + shared.index(part))
        yield Stack(tuple(part), path if len(parts) > 1 else folder, _part(part, parts))


def _part(part: Sequence[Frame], parts: Sequence[Sequence[Frame]]) -> str:
    """Tell a volume from the others of its folder, by the number of its series and what differs within that."""
    if len(parts) == 1:
        return ""
    number = part[0].tags[Tag.NUMBER]
    same = [other for other in parts if other[0].tags[Tag.NUMBER] == number]
    if len(same) == 1:
        return f"series-{number}"
    return f"series-{number}-{1 + same.index(part)}"
