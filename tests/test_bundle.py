# SPDX-License-Identifier: Apache-2.0
"""The main job as its users run it: train, evaluate, infer on NIfTI files, by ``monai.bundle run``."""

import contextlib
import csv
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run

from bundle.acquisition import AxisEstimate, Consistency
from bundle.console import input_error
from bundle.engines import TrainingStep
from bundle.errors import InputError
from bundle.kspace import kept_block, zero_fill
from bundle.networks import Generator
from bundle.pseudonyms import recognised

ROOT = Path(__file__).resolve().parents[1]
TINY: dict[str, Any] = {
    "patch_size": 24,
    "batch_size": 2,
    "epoch_length": 3,
    "n_critic": 2,
    "fidelity_iterations": 4,
    "learning_rate": 1e-4,
    "validate_slices": 1,
    "test_subjects": ["D"],
    "validate_subjects": ["C"],
}


@pytest.fixture(autouse=True)
def _in_bundle_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(autouse=True, scope="module")
def _random_numbers_as_they_were():
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


QUICK = ["configs/train.yaml", "configs/variants/quick.yaml"]


def train(dataset: Path, output: Path, max_epochs: int = 2, quick: bool = False, **overrides: Any) -> dict[str, Any]:
    settings = TINY | {"dataset_dir": str(dataset), "output_dir": str(output), "max_epochs": max_epochs} | overrides
    run("training", config_file=QUICK if quick else "configs/train.yaml", **settings)
    return torch.load(output / "checkpoint.pt", weights_only=True)


def infer(image: Path, reference: Path, weights: Path, output: Path, **overrides: Any) -> None:
    settings = {"image": str(image), "reference": str(reference), "ckpt_path": str(weights)}
    overrides = {"low_res": "zero_filled"} | overrides  # what these small volumes look like is of no account
    run("inference", config_file="configs/inference.yaml", **settings, output_dir=str(output), **overrides)


def sentence(error: BaseException) -> str:
    found = input_error(error)
    assert found is not None, f"no clear sentence in {error!r}"
    assert "\n" not in str(found)
    return str(found)


@contextlib.contextmanager
def refused(*parts: str) -> Iterator[None]:
    """Expect one clear sentence that holds the given parts."""
    with pytest.raises((InputError, RuntimeError)) as caught:
        yield
    for part in parts:
        assert part in sentence(caught.value)


def assert_same(first: Any, second: Any, where: str = "") -> None:
    """Compare two states bit for bit."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same(a, b, f"{where}[{index}]")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    else:
        assert first == second, where


@pytest.fixture(scope="module")
def trained(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output folder of a short training."""
    output = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        train(small_dataset, output)
    finally:
        os.chdir(before)
    return output


def image_and_reference(dataset: Path, subject: str = "D") -> tuple[Path, Path]:
    folder = dataset / f"sub-{subject}" / "anat"
    return folder / f"sub-{subject}_T2w.nii.gz", folder / f"sub-{subject}_PDw.nii.gz"


def weights_of(path: Path, **settings: Any) -> Path:
    """Write the weights of an untrained generator that starts as the identity on its low-res input."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(Generator(residual=True, **settings).state_dict(), path)
    return path


def test_training_leaves_checkpoint_weights_record_split_and_curves(trained) -> None:
    assert {path.name for path in trained.iterdir()} >= {
        "checkpoint.pt",
        "model.pt",
        "model.json",
        "splits.json",
        "tensorboard",
    }
    Generator().load_state_dict(torch.load(trained / "model.pt", weights_only=True))
    assert not list(trained.rglob("*.partial*"))


def test_tensorboard_holds_every_loss_and_the_validation(trained) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(trained / "tensorboard")).Reload()
    names = {"loss", "adversarial", "mse", "perceptual", "texture", "critic", "wasserstein_distance", "PSNR", "SSIM"}
    scalars = {tag.split("/")[-1] for tag in events.Tags()["scalars"]}
    assert names <= scalars
    assert events.Tags()["images"]


def test_four_epochs_equal_two_and_two_resumed_bit_for_bit(small_dataset, trained, tmp_path) -> None:
    settings = {"weight_average": 0.9, "noise_jitter": 0.01, "initial_weights": str(trained / "model.pt")}
    whole = train(small_dataset, tmp_path / "whole", 4, **settings)
    train(small_dataset, tmp_path / "parts", 2, **settings)
    parts = train(small_dataset, tmp_path / "parts", 4, **settings)
    assert_same(whole, parts)
    assert whole["iteration"] == 12


def test_the_average_of_the_weights_is_kept_where_it_is_asked_for(small_dataset, tmp_path) -> None:
    objects = train(small_dataset, tmp_path, 1, weight_average=0.9)["objects"]
    kept = torch.load(tmp_path / "model.pt", weights_only=True)
    assert_same(kept, {name.removeprefix("module."): w for name, w in objects["average"].items() if "module" in name})
    assert any(not torch.equal(kept[name], weight) for name, weight in objects["generator"].items())


def test_fine_tuning_starts_from_the_weights_and_records_what_they_have_seen(
    small_dataset, trained, tmp_path, capsys
) -> None:
    start = trained / "model.pt"
    settings = {"initial_weights": str(start), "learning_rate": 0.0, "test_subjects": ["A"], "validate_subjects": 0.0}
    train(small_dataset, tmp_path, 1, factor=3, **settings)
    told = capsys.readouterr().err
    assert "was trained on ['sub-A']: their scores say nothing" in told
    assert "was trained with factor 4, not 3." in told
    assert_same(torch.load(tmp_path / "model.pt", weights_only=True), torch.load(start, weights_only=True))
    record = json.loads((tmp_path / "model.json").read_text())
    assert record["initial_weights"] == hashlib.sha256(start.read_bytes()).hexdigest()
    cases = [f"sub-{letter}" for letter in "ABCD"]  # A and B have been seen before
    assert recognised([*cases, "sub-E"], record["train_cases"]) == cases
    assert "sub-" not in (tmp_path / "model.json").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residual": True}, "give --residual False or other weights"),
        ({"levels": 2}, "give --levels 1 or other weights"),
        ({"bias": True}, "or another --initial_weights"),
        ({"initial_weights": "nowhere.pt"}, "give --initial_weights FILE"),
    ],
    ids=str,
)
def test_weights_that_training_cannot_start_from_are_refused(change, message, small_dataset, trained, tmp_path) -> None:
    with refused(message):
        train(small_dataset, tmp_path, 1, **{"initial_weights": str(trained / "model.pt")} | change)
    assert not (tmp_path / "model.pt").exists()


def test_a_killed_training_resumes_bit_for_bit(small_dataset, tmp_path) -> None:
    whole = train(small_dataset, tmp_path / "whole", 3, quick=True)
    settings = TINY | {"dataset_dir": str(small_dataset), "output_dir": str(tmp_path / "killed"), "max_epochs": 3}
    settings |= {"save_interval": 2}
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(QUICK)]
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        deadline = time.monotonic() + 240
        while not (tmp_path / "killed" / "checkpoint.pt").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    stored = torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)
    assert 2 <= stored["iteration"] < 9
    resumed = train(small_dataset, tmp_path / "killed", 3, quick=True, save_interval=2)
    assert_same(whole["objects"], resumed["objects"])
    schedule = whole["objects"]["generator_schedule"]
    assert (schedule["last_epoch"], schedule["warmup_steps"]) == (9, 9)  # the rate was another at every iteration


def test_a_finished_training_is_left_as_it_is(small_dataset, trained) -> None:
    before = torch.load(trained / "checkpoint.pt", weights_only=True)
    assert_same(train(small_dataset, trained), before)


def test_a_checkpoint_of_other_settings_is_not_continued(small_dataset, trained) -> None:
    with refused("batch_size 2 -> 1", "another --output_dir"):
        train(small_dataset, trained, batch_size=1)


def test_resume_false_starts_anew(small_dataset, tmp_path) -> None:
    train(small_dataset, tmp_path, 1)
    assert train(small_dataset, tmp_path, 1, resume=False, batch_size=1)["record"]["batch_size"] == 1


def test_training_works_without_perceptual_and_texture_loss_and_without_vgg(small_dataset, tmp_path) -> None:
    settings = {"vgg_weights": "missing.npz", "perceptual_weight": 0, "texture_weight": 0}
    assert train(small_dataset, tmp_path, 1, **settings)["iteration"] == 3


def test_missing_vgg_weights_are_named_before_training_starts(small_dataset, tmp_path) -> None:
    with refused("missing.npz: no VGG16 weights here"):
        train(small_dataset, tmp_path, 1, vgg_weights="missing.npz")


def test_training_that_diverges_stops_and_keeps_the_last_good_checkpoint(small_dataset, tmp_path, monkeypatch) -> None:
    healthy = TrainingStep.__call__

    def diverge(self, engine, batch):
        terms = healthy(self, engine, batch)
        if engine.state.iteration == 6:  # the last update of an epoch: its loss is still finite
            next(self.generator.network.parameters()).data.fill_(float("nan"))
        return terms

    monkeypatch.setattr(TrainingStep, "__call__", diverge)
    with refused("training diverged"):
        train(small_dataset, tmp_path, 4, fidelity_iterations=100)
    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert stored["iteration"] == 3
    assert all(torch.isfinite(weight).all() for weight in stored["objects"]["generator"].values())


def test_a_loss_that_is_not_a_number_stops_training(small_dataset, tmp_path) -> None:
    with refused("training diverged"):
        train(small_dataset, tmp_path, 9, learning_rate=1e30, fidelity_iterations=100)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({"normalise": "slice", "magnitude": False, "factor": 3}, {"factor": 4}),
        ({"fusion": "image", "validate_subjects": 0.0, "slices_per_volume": 2}, {"fusion": "feature"}),
        ({"fusion": "none", "residual": True, "patch_sampling": "random", "gain_jitter": 0.2}, {"residual": False}),
        (
            {"fusion": "reference", "adversarial_weight": 0, "mixed_precision": True, "max_gradient_norm": 1.0},
            {"levels": 2},
        ),
        ({"levels": 2, "share_levels": True, "consistency_layer": True}, {"share_levels": False}),
        ({"levels": 3, "factor": 8, "supervise": "final", "l1_weight": 1.0}, {"factor": 4}),
        (
            {"architecture": "ZengCascade", "size": {"n_features": 8}, "level_factors": [1]},
            {"size": {"n_features": 4}},
        ),
        ({"architecture": "FastGenerator", "size": {"n_blocks": 2}, "fusion": "image"}, {"size": {"n_blocks": 3}}),
    ],
    ids=str,
)
def test_evaluation_follows_the_settings_of_the_training(settings, other, small_dataset, tmp_path) -> None:
    train(small_dataset, tmp_path, 1, **settings)
    arguments = {
        "dataset_dir": str(small_dataset),
        "training_dir": str(tmp_path),
        "config_file": "configs/evaluate.yaml",
    }
    run("evaluating", **arguments)
    assert (tmp_path / "evaluation" / "table.md").is_file()
    with refused("these weights were trained with"):
        run("evaluating", **arguments, **other)


def test_training_improves_on_the_low_res(small_dataset, tmp_path) -> None:
    settings = {"epoch_length": 80, "batch_size": 4, "fidelity_iterations": 80, "learning_rate": 1e-3}
    # clipped: without it the gain after few updates depends on the processor's rounding
    train(small_dataset, tmp_path, 1, factor=2, val_interval=9, max_gradient_norm=0.1, **settings)
    run(
        "evaluating",
        config_file="configs/evaluate.yaml",
        dataset_dir=str(small_dataset),
        training_dir=str(tmp_path),
        factor=2,
    )
    with (tmp_path / "evaluation" / "slices.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    scores = {name: [float(r["psnr"]) for r in rows if r["image"] == name] for name in ("low_res", "super_res")}
    # The untrained network returns the low-res image, so that any gain is learnt.
    assert np.mean(scores["super_res"]) > np.mean(scores["low_res"]) + 0.5


def test_a_progressive_generator_trains_too(small_dataset, tmp_path) -> None:
    train(small_dataset, tmp_path, 1, levels=2)
    Generator(levels=2).load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))


def test_evaluation_reports_all_images_per_slice_and_subject(small_dataset, trained, capsys) -> None:
    settings = {"dataset_dir": str(small_dataset), "training_dir": str(trained)}
    run("evaluating", config_file="configs/evaluate.yaml", **settings)
    with (trained / "evaluation" / "slices.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["subject"], row["case"]) for row in rows} == {("D", "sub-D")}
    assert {row["image"] for row in rows} == {"low_res", "super_res", "super_res_dc"}
    assert len(rows) == 3 * 4
    assert list(rows[0])[4:] == ["psnr", "ssim", "ifc", "psnr_head", "ssim_head"]
    assert all(0 < float(row["psnr_head"]) != float(row["psnr"]) for row in rows)
    table = (trained / "evaluation" / "table.md").read_text()
    assert "| D " in table
    assert "4x zero-filled" in table
    assert table.splitlines()[0] in capsys.readouterr().err
    assert (trained / "evaluation" / "sub-D.png").read_bytes()[:4] == b"\x89PNG"


def test_evaluation_scores_of_the_low_res_are_those_of_its_definition(small_dataset, trained, tmp_path) -> None:
    settings = {"dataset_dir": str(small_dataset), "training_dir": str(trained), "output_dir": str(tmp_path)}
    run("evaluating", config_file="configs/evaluate.yaml", **settings)
    image, _ = image_and_reference(small_dataset)
    voxels = nib.load(image).get_fdata()
    high_res = voxels[..., 1] / voxels.max()
    k_space = np.fft.fftshift(np.fft.fft2(high_res))
    mask = np.zeros_like(k_space)
    mask[24 - 6 : 24 + 6, 20 - 5 : 20 + 5] = 1  # 48 x 40 at 4x: 12 x 10 samples
    low_res = np.abs(np.fft.ifft2(np.fft.ifftshift(k_space * mask)))
    expected = -10 * np.log10(np.mean((low_res - high_res) ** 2))
    with (tmp_path / "slices.csv").open() as stream:
        (row,) = [r for r in csv.DictReader(stream) if (r["slice"], r["image"]) == ("1", "low_res")]
    assert float(row["psnr"]) == pytest.approx(expected, abs=1e-3)


def test_inference_of_an_identity_network_gives_back_its_input_to_the_voxel(small_dataset, tmp_path) -> None:
    image, reference = image_and_reference(small_dataset)
    infer(image, reference, weights_of(tmp_path / "w.pt"), tmp_path / "out", residual=True)
    before, after = nib.load(image), nib.load(tmp_path / "out" / "sub-D_sr.nii.gz")
    np.testing.assert_allclose(after.get_fdata(), before.get_fdata(), rtol=0, atol=1e-3 * before.get_fdata().max())
    assert np.array_equal(after.affine, before.affine)
    assert after.get_data_dtype() == np.float32


@pytest.mark.parametrize("data_consistency", [True, False])
def test_inference_is_the_generator_on_the_definition_of_its_input(data_consistency, small_dataset, tmp_path) -> None:
    torch.manual_seed(0)
    generator = Generator().eval()
    torch.nn.init.uniform_(generator.levels[0].decoder.last.weight, 0, 0.02)  # every layer has a say
    torch.save(generator.state_dict(), tmp_path / "w.pt")
    image, reference = image_and_reference(small_dataset)
    settings = {"degrade": True, "mixed_precision": False, "data_consistency": data_consistency}
    infer(image, reference, tmp_path / "w.pt", tmp_path / "out", **settings)
    target, guide = (torch.from_numpy(nib.load(path).get_fdata(dtype=np.float32)) for path in (image, reference))
    low_res = zero_fill((target / target.max()).movedim(-1, 0), 4)
    with torch.no_grad():
        expected = generator(torch.stack((low_res, (guide / guide.max()).movedim(-1, 0)), dim=1))
    if data_consistency:
        blocks = [(n, *kept_block(n, 4)) for n in low_res.shape[1:]]
        axes = [AxisEstimate(n, n / (stop - start)) for n, start, stop in blocks]
        expected = Consistency(*axes).restored(expected, low_res[:, None])
    found = nib.load(tmp_path / "out" / "sub-D_sr.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_allclose(found, target.max() * expected[:, 0].movedim(0, -1), rtol=1e-4, atol=0.01)


def test_thick_slices_become_near_isotropic_where_asked(small_dataset, tmp_path) -> None:
    image, reference = image_and_reference(small_dataset)
    thick = tmp_path / "sub-X_T2w.nii.gz"
    before = nib.load(image)
    voxel = np.linalg.norm(before.affine[:3, :3], axis=0)
    affine = before.affine @ np.diag([1, 1, 4 * voxel[0] / voxel[2], 1])
    nib.save(nib.Nifti1Image(before.get_fdata(dtype=np.float32), affine), thick)
    settings = {"through_plane": True, "register": False}
    infer(thick, reference, ROOT / "models" / "model.pt", tmp_path / "out", low_res="auto", **settings)
    result = nib.load(tmp_path / "out" / "sub-X_sr.nii.gz")
    n_slices = nib.load(thick).shape[2]
    assert result.shape == (*before.shape[:2], 4 * n_slices)
    centre = result.affine @ [0, 0, (result.shape[2] - 1) / 2, 1]
    np.testing.assert_allclose(centre, affine @ [0, 0, (n_slices - 1) / 2, 1], atol=1e-4)
    facts = json.loads((tmp_path / "out" / "sub-X_sr.json").read_text())["facts"]
    assert "slices" in facts["low_res"]["said"]
    assert facts["data_consistency"]["restored"]


@pytest.mark.parametrize(
    ("shape", "spacing", "axes"),
    [
        ((33, 48, 5), (1, 1, 3), "RAS"),  # odd and even matrix
        ((5, 33, 48), (3, 1, 1), "LPI"),  # sagittal slices, all axes flipped
        ((33, 5, 48), (1, 3, 1), "SAR"),  # coronal slices, axes permuted
        ((33, 48, 1), (1, 1, 5), "LAS"),  # one slice
        ((17, 17, 2), (1, 1, 1), "RAS"),  # the smallest matrix
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_inference_keeps_grid_header_and_scale_of_any_orientation(shape, spacing, axes, ending, tmp_path) -> None:
    random = np.random.default_rng(0)
    orientation = nib.orientations.axcodes2ornt(axes)
    rotation = np.zeros((3, 3))
    for axis, (world, direction) in enumerate(orientation):
        rotation[int(world), axis] = direction * spacing[axis]
    oblique = np.array([[0.98, -0.2, 0], [0.2, 0.98, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = oblique @ rotation, (12.5, -7.25, 3)
    paths = []
    for contrast in ("T2w", "T1w"):
        header = nib.Nifti1Header()
        header.set_data_dtype(np.uint16)
        nifti = nib.Nifti1Image(random.integers(0, 4000, shape).astype(np.uint16), affine, header)
        nifti.set_sform(affine, 4)
        nifti.set_qform(affine, 1)
        nifti.header.set_xyzt_units("mm", "sec")
        nifti.header["descrip"] = b"as scanned"
        paths.append(tmp_path / f"sub-1_{contrast}{ending}")
        nib.save(nifti, paths[-1])
    settings = {"residual": True, "output_dtype": "input", "output_ext": ending, "mixed_precision": False}
    infer(*paths, weights_of(tmp_path / "w.pt"), tmp_path / "out", **settings)
    before, after = nib.load(paths[0]), nib.load(tmp_path / "out" / f"sub-1_sr{ending}")
    assert np.array_equal(np.asarray(after.dataobj), np.asarray(before.dataobj))
    assert after.shape == before.shape
    for field in ("sform_code", "qform_code", "xyzt_units", "descrip", "pixdim", "srow_x", "quatern_b", "datatype"):
        assert np.array_equal(after.header[field], before.header[field]), field


def test_inference_of_a_folder_does_all_cases_and_degrades_on_request(small_dataset, trained, tmp_path) -> None:
    settings = {"dataset_dir": str(small_dataset), "ckpt_path": str(trained / "model.pt"), "degrade": True}
    run("inference", config_file="configs/inference.yaml", output_dir=str(tmp_path), **settings)
    assert {path.name for path in tmp_path.glob("*.nii*")} == {f"sub-{s}_sr.nii.gz" for s in "ABCD"}
    assert {path.name for path in tmp_path.glob("*.json")} == {"report.json", *(f"sub-{s}_sr.json" for s in "ABCD")}


def test_one_bad_case_is_named_and_the_others_are_done(small_dataset, trained, tmp_path) -> None:
    dataset = tmp_path / "dataset"
    for subject in "AB":
        for path in image_and_reference(small_dataset, subject):
            (dataset / path.name).parent.mkdir(exist_ok=True)
            (dataset / path.name).write_bytes(path.read_bytes())
    bad = dataset / "sub-A_T2w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-100])
    settings = {
        "dataset_dir": str(dataset),
        "ckpt_path": str(trained / "model.pt"),
        "output_dir": str(tmp_path / "out"),
        "low_res": "zero_filled",
    }
    with refused("1 of 2 cases were left out", str(bad)):
        run("inference", config_file="configs/inference.yaml", **settings)
    assert {path.name for path in (tmp_path / "out").glob("*.nii*")} == {"sub-B_sr.nii.gz"}


def changed(path: Path, new: Path, **changes: Any) -> Path:
    """Write a copy of a volume with other voxels or another affine."""
    image = nib.load(path)
    data = changes.get("data", image.get_fdata(dtype=np.float32))
    nib.save(nib.Nifti1Image(data, changes.get("affine", image.affine)), new)
    return new


def bad_images(image: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Return bad targets by kind, each with a part of the sentence that must name it."""
    data = nib.load(image).get_fdata(dtype=np.float32)
    broken, truncated = folder / "broken.nii.gz", folder / "truncated.nii.gz"
    broken.write_bytes(gzip.compress(b"not a volume"))
    truncated.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with_nan, with_inf = data.copy(), data.copy()
    with_nan[0, 0, 0], with_inf[0, 0, 0] = np.nan, np.inf
    rgb = np.zeros(data.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return {
        "missing": (folder / "missing.nii.gz", "there is no such file"),
        "not NIfTI": (broken, "this is not a NIfTI file"),
        "truncated": (truncated, "cut short or damaged"),
        "4-D": (changed(image, folder / "series.nii.gz", data=np.stack([data, data], -1)), "series of 2 volumes"),
        "RGB": (changed(image, folder / "rgb.nii.gz", data=rgb), "RGB"),
        "NaN": (changed(image, folder / "nan.nii.gz", data=with_nan), "1 voxels are NaN or infinite"),
        "infinite": (changed(image, folder / "inf.nii.gz", data=with_inf), "1 voxels are NaN or infinite"),
        "constant": (changed(image, folder / "flat.nii.gz", data=np.ones_like(data)), "every voxel is 1"),
        "small": (changed(image, folder / "small.nii.gz", data=data[:16]), "at least 17 x 17"),
    }


KINDS = ["missing", "not NIfTI", "truncated", "4-D", "RGB", "NaN", "infinite", "constant", "small"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_image_is_reported_in_one_sentence_and_nothing_is_written(kind, small_dataset, tmp_path) -> None:
    image, reference = image_and_reference(small_dataset)
    path, message = bad_images(image, tmp_path)[kind]
    with refused(message, path.name):
        infer(path, reference, weights_of(tmp_path / "w.pt"), tmp_path / "out", residual=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]


def test_a_missing_reference_is_reported_where_the_weights_need_one(small_dataset, tmp_path) -> None:
    image, _ = image_and_reference(small_dataset)
    settings = {"ckpt_path": str(weights_of(tmp_path / "w.pt")), "output_dir": str(tmp_path)}
    with refused("--image is given without its reference; add --reference FILE"):
        run("inference", config_file="configs/inference.yaml", image=str(image), **settings)


def test_a_reference_on_another_grid_is_laid_on_the_image_by_its_header_where_registration_is_off(
    small_dataset, tmp_path
) -> None:
    image, reference = image_and_reference(small_dataset)
    affine = nib.load(reference).affine.copy()
    affine[0, 3] += 2
    moved = changed(reference, tmp_path / "moved.nii.gz", affine=affine)
    infer(image, moved, weights_of(tmp_path / "w.pt"), tmp_path / "out", residual=True, register=False)
    (file,) = (tmp_path / "out").glob("sub-*.json")
    record = json.loads(file.read_text())
    assert record["facts"]["registration"]["method"] == "headers"
    assert any("on another grid" in warning for warning in record["warnings"])


def test_weights_of_another_architecture_are_reported(small_dataset, tmp_path) -> None:
    weights = weights_of(tmp_path / "w.pt", fusion="image")
    with refused("of another architecture"):
        infer(*image_and_reference(small_dataset), weights, tmp_path / "out")
    with refused("there are no weights here"):
        infer(*image_and_reference(small_dataset), tmp_path / "none.pt", tmp_path / "out")


def test_weights_trained_for_another_factor_are_refused_where_they_are_scored(small_dataset, trained, tmp_path) -> None:
    settings = {"dataset_dir": str(small_dataset), "training_dir": str(trained), "factor": 2}
    with refused("trained with factor 4, not 2; give --factor 4"):
        run("evaluating", config_file="configs/evaluate.yaml", output_dir=str(tmp_path), **settings)


def test_an_image_of_another_factor_than_the_weights_is_warned_of(small_dataset, trained, tmp_path, capsys) -> None:
    infer(*image_and_reference(small_dataset), trained / "model.pt", tmp_path / "out", factor=2)
    assert "the weights were trained for 4 alone" in capsys.readouterr().err


def test_weights_trained_with_another_reference_contrast_are_reported(small_dataset, trained, tmp_path) -> None:
    image, reference = image_and_reference(small_dataset)
    t1 = tmp_path / "sub-D_T1w.nii.gz"
    t1.write_bytes(reference.read_bytes())
    with refused("trained with reference_contrast PDw, not T1w"):
        infer(image, t1, trained / "model.pt", tmp_path / "out")


def test_evaluation_on_training_subjects_is_warned_of(small_dataset, trained, tmp_path, capsys) -> None:
    settings = {"dataset_dir": str(small_dataset), "training_dir": str(trained), "split_file": "null"}
    run("evaluating", config_file="configs/evaluate.yaml", output_dir=str(tmp_path), **settings)
    assert "was trained on ['sub-A', 'sub-B']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"gram_norm": "pixel"}, "choose one of pixels"),
        ({"patch_size": 16}, "give a multiple of 8 from 24"),
        ({"normalise": "slcie"}, "choose volume or slice"),
        ({"degrade": False}, "has no key degrade"),
        ({"save_interval": 0}, "give 1 iteration or more"),
        ({"batch_size": 2.5}, "a whole number from 1"),
        ({"fusion": "featur"}, "choose one of feature"),
        ({"reference_contrast": "T3"}, "choose auto, PDw or T1w"),
        ({"test_subjects": ["Z"]}, "Z"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_reported_before_training_starts(setting, message, small_dataset, tmp_path) -> None:
    with refused(message):
        train(small_dataset, tmp_path, 1, **setting)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("factor", [0, 1, "four", -3])
def test_a_wrong_factor_is_reported(factor, small_dataset, tmp_path) -> None:
    with refused("give a number above 1"):
        train(small_dataset, tmp_path, 1, factor=factor)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_reported(small_dataset, tmp_path) -> None:
    tmp_path.chmod(0o500)
    with refused("cannot write into this output folder"):
        infer(*image_and_reference(small_dataset), tmp_path / "w.pt", tmp_path / "out")


def test_an_output_folder_that_is_a_file_is_reported(small_dataset, tmp_path) -> None:
    (tmp_path / "out").write_text("in the way")
    weights = weights_of(tmp_path / "w.pt")
    with refused("cannot write into this output folder"):
        infer(*image_and_reference(small_dataset), weights, tmp_path / "out")


def test_the_command_line_ends_with_one_sentence_and_a_failure(tmp_path) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "inference", "--config_file", "configs/inference.yaml"]
    command += ["--dataset_dir", str(tmp_path / "nowhere"), "--output_dir", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "nowhere" in result.stderr.splitlines()[-1]
