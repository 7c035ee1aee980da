# SPDX-License-Identifier: Apache-2.0
"""The phantom: its physics, its anatomy, and the way its files come into being."""

import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.errors import InputError
from bundle.phantom import atlas as anatomy
from bundle.phantom import dataset as phantom
from bundle.phantom import scanner as scan
from bundle.phantom.head import TISSUES, Head, draw_head

N_SLICES = 3
CONTRASTS = ("T2w", "PDw", "T1w")


@pytest.fixture(scope="module", autouse=True)
def few_slices():
    """Scan three slices through the ventricles only, on one thread as the writer does (rounding depends on it)."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "N_SLICES", N_SLICES)
        patch.setattr(scan, "FIRST_SLICE", 12.0)
        yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def folder(few_slices, tmp_path_factory) -> Path:
    """Write two subjects."""
    path = tmp_path_factory.mktemp("phantom") / "set"
    phantom.write_phantom(path, n_subjects=2, seed=0)
    return path


@pytest.fixture(scope="module")
def images(folder) -> dict[str, nib.Nifti1Image]:
    """Load the first subject."""
    return {name: nib.load(folder / "sub-P01" / "anat" / f"sub-P01_{name}.nii.gz") for name in CONTRASTS}


@pytest.fixture(scope="module")
def head() -> Head:
    """Draw the first subject's head."""
    return draw_head(np.random.default_rng([0, 1]))


@pytest.fixture(scope="module")
def parts(head, images) -> np.ndarray:
    """Return the first subject's tissue fractions at voxel centres (tissues, X, Y, Z), found through the affine."""
    generator = np.random.default_rng([0, 1])
    draw_head(generator)
    shift = generator.normal(0, 2, 3)
    indices = np.moveaxis(np.indices(images["T2w"].shape), 0, -1)
    points = nib.affines.apply_affine(images["T2w"].affine, indices) - shift
    fractions, _ = head.fractions(torch.tensor(points, dtype=torch.float32).movedim(2, 0).contiguous())
    return fractions.movedim(1, -1).numpy()


def mean_of(image: nib.Nifti1Image, parts: np.ndarray, tissue: str) -> float:
    """Return the mean value of the voxels that hold one tissue only."""
    return float(image.get_fdata()[parts[TISSUES.index(tissue)] > 0.98].mean())


def low_res(image: np.ndarray, factor: int) -> np.ndarray:
    """Zero-fill slices (X, Y, Z): keep round(n / factor) central samples of an axis, return the magnitude."""
    k_space = np.fft.fftshift(np.fft.fft2(image, axes=(0, 1)), axes=(0, 1))
    mask = np.zeros(image.shape[:2])
    block = [
        slice(n // 2 - round(n / factor) // 2, n // 2 - round(n / factor) // 2 + round(n / factor)) for n in mask.shape
    ]
    mask[tuple(block)] = 1
    return np.abs(np.fft.ifft2(np.fft.ifftshift(k_space * mask[..., None], axes=(0, 1)), axes=(0, 1)))


def test_spin_echo_equals_closed_forms():
    tissue = (0.8, 1000.0, 100.0)
    assert scan.spin_echo(*tissue, tr=1e9, te=0) == pytest.approx(0.8)
    assert scan.spin_echo(*tissue, tr=1e9, te=100) == pytest.approx(0.8 / math.e)
    assert scan.spin_echo(*tissue, tr=1000 * math.log(2), te=0) == pytest.approx(0.4)


@settings(deadline=None)
@given(
    pd=st.floats(0.01, 1), t1=st.floats(50, 5000), t2=st.floats(1, 3000), tr=st.floats(10, 1e4), te=st.floats(1, 300)
)
def test_spin_echo_grows_with_tr_and_falls_with_te(pd, t1, t2, tr, te):
    signal = scan.spin_echo(pd, t1, t2, tr, te)
    assert 0 <= signal <= pd
    assert scan.spin_echo(pd, t1, t2, 2 * tr, te) >= signal
    assert scan.spin_echo(pd, t1, t2, tr, 2 * te) <= signal


def test_parameters_cover_the_tissues_in_order():
    assert tuple(scan.PARAMETERS) == TISSUES


def test_lesions_show_in_t2_faintly_in_pd_and_hardly_in_t1():
    ratios = {
        name: scan.spin_echo(*scan.PARAMETERS["lesion"], *times) / scan.spin_echo(*scan.PARAMETERS["white"], *times)
        for name, times in scan.SEQUENCES.items()
    }
    assert ratios["T2w"] > 1.8
    assert 1.03 < ratios["PDw"] < 1.15
    assert abs(ratios["T1w"] - 1) < 0.08


def test_volumes_order_the_tissues_as_each_contrast_does(images, parts):
    t2, pd, t1 = ({t: mean_of(images[c], parts, t) for t in ("csf", "grey", "white")} for c in CONTRASTS)
    assert t2["csf"] > 1.5 * t2["grey"] > 1.5 * t2["white"]
    assert pd["csf"] > pd["grey"] > pd["white"]
    assert t1["white"] > t1["grey"] > t1["csf"]


def test_volumes_share_one_grid_with_both_affines_coded(images):
    for image in images.values():
        assert image.shape == (208, 240, N_SLICES)
        assert image.get_data_dtype() == np.int16
        np.testing.assert_allclose(image.header.get_zooms(), (0.9375, 0.9375, 4.0))
        np.testing.assert_array_equal(image.affine, images["T2w"].affine)
        for affine, code in (image.get_qform(coded=True), image.get_sform(coded=True)):
            assert code == 1
            np.testing.assert_allclose(affine, image.affine, atol=1e-4)
        assert image.header.get_xyzt_units()[0] == "mm"
    assert nib.aff2axcodes(images["T2w"].affine) == ("R", "A", "S")


def test_subject_is_reproducible_and_independent_of_the_others(folder):
    volumes, affine = scan.simulate_subject(2, seed=0)
    for name, volume in volumes.items():
        image = nib.load(folder / "sub-P02" / "anat" / f"sub-P02_{name}.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), volume)
        np.testing.assert_allclose(image.affine, affine)


def test_the_first_subject_is_the_one_it_always_was(images):
    """Mean, standard deviation and one voxel as version 0.6.0 wrote them."""
    expected = {
        "T2w": (344.18962, 382.43019, 1001),
        "PDw": (940.39143, 843.94439, 2003),
        "T1w": (442.34219, 400.80155, 651),
    }
    for name, (mean, deviation, voxel) in expected.items():
        voxels = np.asanyarray(images[name].dataobj)
        assert (voxels.mean(), voxels.std()) == pytest.approx((mean, deviation), rel=1e-6)
        assert voxels[104, 120, 1] == pytest.approx(voxel, abs=1)  # as rounded elsewhere


def test_subjects_and_seeds_differ(folder):
    first, second = (nib.load(folder / s / "anat" / f"{s}_T2w.nii.gz").get_fdata() for s in ("sub-P01", "sub-P02"))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.95
    assert not torch.equal(draw_head(np.random.default_rng([1, 1])).bend, draw_head(np.random.default_rng([0, 1])).bend)


def test_air_is_rayleigh_at_two_percent_of_white_matter(images, parts):
    for image in images.values():
        air = image.get_fdata()[:20, :20]
        # Rayleigh: mean / standard deviation = sqrt(pi / (4 - pi)); sigma = mean / sqrt(pi / 2).
        assert air.mean() / air.std() == pytest.approx(math.sqrt(math.pi / (4 - math.pi)), rel=0.08)
        sigma = air.mean() / math.sqrt(math.pi / 2)
        assert 0.012 < sigma / mean_of(image, parts, "white") < 0.035


def test_low_res_is_as_far_from_high_res_as_in_real_slices(images):
    # Real T2w volumes at factor 4, peak = maximum: 26.1 dB (IXI slices), 30.7 to 33.6 dB (five 3 T volumes).
    volume = images["T2w"].get_fdata()
    volume /= volume.max()
    psnr = -10 * np.log10(np.mean((low_res(volume, 4) - volume) ** 2, axis=(0, 1)))
    assert 25 < psnr.mean() < 31


def test_fractions_lie_between_zero_and_one_and_leave_air_empty(parts):
    assert parts.min() >= 0
    assert parts.sum(axis=0).max() <= 1 + 1e-5
    assert parts[:, :8, :8].sum() == 0
    for tissue in ("csf", "grey", "white", "bone", "marrow", "fat", "skin"):
        assert (parts[TISSUES.index(tissue)] > 0.8).mean() > 0.002, tissue


def test_white_matter_is_textured(head):
    axis = torch.arange(-40.0, 40.0, 1.0)
    grid = torch.stack(torch.meshgrid(torch.tensor([24.0]), axis, axis, indexing="ij"), dim=-1)[..., [1, 2, 0]]
    _, texture = head.fractions(grid)
    assert 0.01 < texture.std() < 0.05
    assert texture.mean() == pytest.approx(1, abs=0.01)


def test_deformation_folds_nowhere(head):
    axes = [torch.arange(low, high, 2.0) for low, high in ((-70, 70), (-90, 60), (-20, 70))]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    _, place = head.locate(points)
    jacobian = (
        torch.stack([place[1:, :-1, :-1], place[:-1, 1:, :-1], place[:-1, :-1, 1:]], -1) - place[:-1, :-1, :-1, :, None]
    )
    determinant = torch.linalg.det(jacobian / 2)
    assert determinant.min() > 0.2
    assert determinant.max() < 3


def test_acquisition_keeps_a_gaussian_in_place():
    def blob(shape, step):
        x, y = ((torch.arange(n) - n // 2) * step for n in shape)
        return torch.exp(-((x[:, None] - 20) ** 2 + (y[None] + 31) ** 2) / (2 * 3.0**2))

    fine = [round(n * scan.OVERSAMPLING) for n in scan.MATRIX]
    torch.testing.assert_close(
        scan._acquire(blob(fine, 1 / scan.OVERSAMPLING)), blob(scan.MATRIX, 1.0), atol=2e-3, rtol=0
    )


def test_bias_field_stays_within_twenty_percent():
    field = scan.bias_field((208, 240, N_SLICES), (0.1, 0.2), np.random.default_rng(3))
    assert field.shape == (208, 240, N_SLICES)
    assert 0.8 <= field.min() <= 0.9 + 1e-6
    assert 1.1 - 1e-6 <= field.max() <= 1.2 + 1e-6
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1)) < 0.01


def test_folder_names_the_origin_of_the_anatomy(folder):
    readme = (folder / "README").read_text(encoding="utf-8")
    assert "Copyright (C) 1993-2009 Louis Collins" in readme
    assert "2 subjects, seed 0" in readme
    assert sorted(path.name for path in folder.iterdir()) == [
        "README",
        "dataset_description.json",
        "sub-P01",
        "sub-P02",
    ]


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(path, index, seed):
        (path / f"sub-P{index:02d}").mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(phantom, "_write_subject", fail)
    with pytest.raises(InputError, match="No space left on device"):
        phantom.write_phantom(tmp_path / "set", n_subjects=2)
    assert list(tmp_path.iterdir()) == []


def write_stub(path: Path, index: int, seed: int) -> None:
    """Stand in for a subject."""
    (path / f"sub-P{index:02d}").mkdir(parents=True)


def test_default_dataset_is_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom, "_write_subject", write_stub)
    path = phantom.default_dataset(tmp_path)
    assert Path(path) == tmp_path / "data" / "phantom"
    assert len(list(Path(path).glob("sub-P*"))) == 8
    monkeypatch.setattr(phantom, "write_phantom", lambda folder: pytest.fail("written twice"))
    assert phantom.default_dataset(str(tmp_path)) == path


def test_default_dataset_yields_to_a_faster_process(tmp_path, monkeypatch):
    final = tmp_path / "data" / "phantom"

    def write_and_be_overtaken(path, index, seed):
        write_stub(path, index, seed)
        final.mkdir(exist_ok=True)
        (final / "dataset_description.json").write_text("theirs")

    monkeypatch.setattr(phantom, "_write_subject", write_and_be_overtaken)
    assert phantom.default_dataset(tmp_path) == str(final)
    assert (final / "dataset_description.json").read_text() == "theirs"
    assert [p.name for p in final.parent.iterdir()] == ["phantom"]


def test_default_dataset_refuses_a_root_it_cannot_write(tmp_path):
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(InputError, match="or set dataset_dir"):
        phantom.default_dataset(tmp_path)


def test_occupied_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="name a new folder"):
        phantom.write_phantom(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(("n_subjects", "seed"), [(0, 0), (1, -1)])
def test_too_few_subjects_or_negative_seed_are_refused(tmp_path, n_subjects, seed):
    with pytest.raises(ValueError, match="at least"):
        phantom.write_phantom(tmp_path / "set", n_subjects, seed)


def test_missing_atlas_names_the_remedy(monkeypatch):
    monkeypatch.setattr(anatomy.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="install nilearn"):
        anatomy.read_map("gm")
