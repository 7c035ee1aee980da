# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
from matplotlib.figure import Figure
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from scipy.ndimage import gaussian_filter

from bundle.drawing import montage
from bundle.drawing.montage_page import TileRow, draw_page

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--packed", metavar="FILE", help="a packed bundle that tests/zoo looks at, as `make bundle` does")


@pytest.fixture(scope="session")
def bundle_root() -> Path:
    """Return the folder that holds ``bundle/`` and ``configs/``."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real volumes beside the checkout, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real volumes are not beside the checkout (../shared/data)")
    return folder


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Undo what a bundle's run does to loggers and to the exception hook, so that the order of tests is free."""
    sys.excepthook = sys.__excepthook__  # a fixture of a module may have run a bundle before
    names = ["bundle", "ignite"]
    before = {name: (logging.getLogger(name).propagate, logging.getLogger(name).level) for name in names}
    yield
    for name, (propagate, level) in before.items():
        logging.getLogger(name).propagate = propagate
        logging.getLogger(name).setLevel(level)


def write_pair(folder: Path, subject: str, shape: tuple[int, int, int] = (48, 40, 4), seed: int = 0) -> None:
    """Write a small T2w and PDw with shared structure and different contrast."""
    random = np.random.default_rng(seed)
    structure = gaussian_filter(random.random(shape), (1, 1, 0.5))
    structure = (structure - structure.min()) / np.ptp(structure)
    head = np.zeros(shape)
    head[4:-4, 4:-4] = 1
    affine = np.array([[-0.9, 0, 0, 20], [0, 0.9, 0, -18], [0, 0, 3, -6], [0, 0, 0, 1.0]])
    folder.mkdir(parents=True, exist_ok=True)
    for contrast, image in (("T2w", head * (0.2 + structure**2)), ("PDw", head * (1 - 0.5 * structure))):
        nifti = nib.Nifti1Image((1000 * image).astype(np.int16), affine)
        nifti.header.set_xyzt_units("mm")
        nib.save(nifti, folder / f"sub-{subject}_{contrast}.nii.gz")


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BIDS-like folder of four small subjects, A to D."""
    folder = tmp_path_factory.mktemp("dataset")
    for seed, subject in enumerate("ABCD"):
        write_pair(folder / f"sub-{subject}" / "anat", subject, seed=seed)
    return folder


class DrawnPage(NamedTuple):
    """A page of tiles, and the figure that it became."""

    rows: Sequence[TileRow]
    title: str
    figure: Figure

    @property
    def headings(self) -> list[str]:
        return [tile.heading for tile in self.rows[0].drawn]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[DrawnPage]:
    """Every page that is drawn."""
    drawn: list[DrawnPage] = []

    def draw(rows: Sequence[TileRow], title: str) -> Figure:
        drawn.append(DrawnPage(rows, title, draw_page(rows, title)))
        return drawn[-1].figure

    monkeypatch.setattr(montage, "draw_page", draw)
    return drawn


@pytest.fixture
def write_dicom() -> Callable[..., Path]:
    """Return a function that writes voxels (Z, Y, X) as a DICOM series, axial slices of 1 x 1 x 4 mm.

    Tags are given by keyword; a function of the slice's number and its data set, ``change``, may spoil it.
    """

    def write(
        folder: Path,
        voxels: np.ndarray,
        study: str = "1.2.826.0.1.3680043.9.1",
        series: str = "1.2.3",
        change: Callable[[int, Dataset], None] | None = None,
        **tags: object,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(voxels):
            slice_ = dicom_slice(pixels, index, **{"StudyInstanceUID": study, "SeriesInstanceUID": series} | tags)
            if change:
                change(index, slice_)
            slice_.save_as(folder / f"{series}-{index}.dcm", enforce_file_format=True)
        return folder

    return write


def dicom_slice(pixels: np.ndarray, index: int, **tags: object) -> Dataset:
    """Return one axial slice (Y, X) as a classic MR image."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, f"1.2.3.{hash((str(tags), index)) % 10**9}"
    one.Modality, one.ImageType, one.InstanceNumber = "MR", ["ORIGINAL", "PRIMARY", "M"], index + 1
    one.PixelSpacing, one.SliceThickness = [1, 1], 4
    one.ImagePositionPatient, one.ImageOrientationPatient = [-10, 5, 4 * index], [1, 0, 0, 0, 1, 0]
    one.Rows, one.Columns = pixels.shape
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in tags.items():
        setattr(one, keyword, value)
    return one
