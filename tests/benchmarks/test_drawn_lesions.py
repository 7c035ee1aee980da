# SPDX-License-Identifier: Apache-2.0

import nibabel as nib
import numpy as np
import pytest
import torch
from drawn_lesions import homogeneous_places, lesion_contrast, lesion_shape
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.engines import GeneratorLoader
from bundle.kspace import project, restore_measured, restore_measured_magnitude, zero_fill
from bundle.networks import build
from bundle.settings import recorded

PLACE = ((40.0, 45.0), 6.0, (0.6, 0.6))
FACTOR = 4


def shape(place: tuple = PLACE) -> np.ndarray:
    return lesion_shape((81, 92), *place)


def head() -> tuple[torch.Tensor, torch.Tensor]:
    """A target and a reference that share a border, bright enough that magnitudes keep their sign."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 81), torch.linspace(-1, 1, 92), indexing="ij")
    disc = torch.sigmoid((0.7 - torch.hypot(rows, columns)) * 30).double()
    return (0.3 + 0.4 * disc)[None, None], (0.5 + 0.3 * disc - 0.2 * rows)[None, None]


def share(change: np.ndarray, inserted: np.ndarray, place: tuple = PLACE) -> float:
    """Return how much of an inserted lesion's contrast is in the difference of two images."""
    return lesion_contrast(change, *place) / lesion_contrast(inserted, *place)


def blob() -> torch.Tensor:
    return torch.from_numpy(shape()).double()[None, None]


def copies_reference(slices: torch.Tensor) -> torch.Tensor:
    return slices[:, 1:]


def adds_reference(slices: torch.Tensor) -> torch.Tensor:
    return slices[:, :1] + 3 * slices[:, 1:]


def ignores_both(slices: torch.Tensor) -> torch.Tensor:
    return torch.full_like(slices[:, :1], 0.5)


ADVERSARIES = [copies_reference, adds_reference, ignores_both]


def test_lesion_is_one_inside_zero_outside_and_half_at_its_border() -> None:
    lesion = lesion_shape((101, 101), (50, 50), 10.0, (0.5, 1.0))
    assert lesion[50, 50] == pytest.approx(1, abs=1e-4)
    assert lesion[60, 50] == pytest.approx(0.5, abs=1e-6)  # 10 rows of 0.5 mm
    assert lesion[50, 55] == pytest.approx(0.5, abs=1e-6)  # 5 columns of 1 mm
    assert lesion[0, 0] == pytest.approx(0, abs=1e-6)


@given(height=st.floats(-2, 2), background=st.floats(-1, 1))
@settings(deadline=None)
def test_contrast_is_linear_in_the_lesion_and_blind_to_the_background(height, background) -> None:
    unit = lesion_contrast(shape(), *PLACE)
    measured = lesion_contrast((background + height * shape()).astype(np.float32), *PLACE)
    assert measured == pytest.approx(height * unit, abs=1e-5)


def test_contrast_of_a_sharp_disc_is_its_height() -> None:
    rows, columns = np.indices((81, 92))
    disc = (np.hypot((rows - 40) * 0.6, (columns - 45) * 0.6) <= 3).astype(np.float32)
    assert lesion_contrast(0.7 * disc, *PLACE) == pytest.approx(0.7, rel=1e-5)


def test_contrast_of_a_lesion_outside_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixel"):
        lesion_contrast(shape(), (500, 500), 6, (0.6, 0.6))


def test_a_network_that_copies_the_reference_loses_a_target_lesion_and_invents_a_reference_lesion() -> None:
    (target, reference), lesion = head(), blob()
    base = copies_reference(torch.cat((target, reference), dim=1))
    erased = copies_reference(torch.cat((target + lesion, reference), dim=1))
    invented = copies_reference(torch.cat((target, reference + lesion), dim=1))
    shares = [share((output - base)[0, 0].numpy(), shape()) for output in (erased, invented)]
    assert shares == pytest.approx([0, 1], abs=1e-6)


@pytest.mark.parametrize("network", ADVERSARIES)
def test_a_lesion_only_in_the_reference_cannot_change_the_measured_block(network) -> None:
    target, reference = head()
    low_res = zero_fill(target, FACTOR, magnitude=False)
    outputs = [
        restore_measured(network(torch.cat((low_res, other), dim=1)), low_res, FACTOR)
        for other in (reference, reference + 2 * blob())
    ]
    change = project(outputs[1] - outputs[0], FACTOR)
    assert change.abs().max() < 1e-9


@pytest.mark.parametrize("network", ADVERSARIES)
@pytest.mark.parametrize("magnitude", [True, False])
def test_a_lesion_only_in_the_target_survives_in_the_measured_block_whatever_the_network(network, magnitude) -> None:
    target, reference = head()
    restore = restore_measured_magnitude if magnitude else restore_measured
    outputs = []
    for image in (target, target + 0.4 * blob()):
        low_res = zero_fill(image, FACTOR, magnitude)
        outputs.append(project(restore(network(torch.cat((low_res, reference), dim=1)), low_res, FACTOR), FACTOR))
    kept = (outputs[1] - outputs[0])[0, 0].numpy()
    measured = 0.4 * project(blob(), FACTOR)[0, 0].numpy()
    assert np.abs(kept - measured).max() < (1e-3 if magnitude else 1e-9)


def test_homogeneous_places_are_even_deep_apart_and_where_they_may_be() -> None:
    rows, columns = np.indices((160, 180))
    head = np.where(np.hypot(rows - 80, columns - 90) < 70, 1.0, 0.0).astype(np.float32)
    head += np.where((head > 0) & (columns < 90), 0.3 * np.random.default_rng(0).normal(size=head.shape), 0)
    places = homogeneous_places(head.astype(np.float32), (1.0, 1.0), 6, among=rows < 100)
    assert len(places) == 6
    assert all(row < 100 and column > 95 and np.hypot(row - 80, column - 90) <= 70 - 11 for row, column in places)
    assert min(np.hypot(a - c, b - d) for a, b in places for c, d in places if (a, b) != (c, d)) >= 20


def test_homogeneous_places_are_fewer_where_there_is_no_more_room() -> None:
    head = np.pad(np.ones((60, 60), dtype=np.float32), 20)
    places = homogeneous_places(head, (1.0, 1.0), 50)
    assert 1 < len(places) < 50
    assert len(set(places)) == len(places)


@pytest.mark.long
def test_the_shipped_weights_keep_target_lesions_and_do_not_invent_reference_lesions(bundle_root, shared_data) -> None:
    """What data consistency cannot promise: contrast beyond the measured block, on a real slice."""
    weights = bundle_root / "models" / "model.pt"
    model = recorded(weights).model
    network = build(model).eval()
    GeneratorLoader(weights, network).load()
    volumes = [nib.load(shared_data / "open_ms" / f"sub-L12_ses-1_{c}.nii.gz") for c in ("T2w", "T1w")]
    target, reference = (torch.from_numpy(v.get_fdata(dtype=np.float32)[None, None, ..., 24]) for v in volumes)
    target, reference = target / target.max(), reference / reference.max()
    place = ((190.0, 130.0), 8.0, (0.6, 0.6))
    lesion = torch.from_numpy(lesion_shape(target.shape[-2:], *place))[None, None]

    def output(image: torch.Tensor, other: torch.Tensor) -> np.ndarray:
        low_res = zero_fill(image, model.factor)
        with torch.inference_mode():
            predicted = network(torch.cat((low_res, other), dim=1))
        return restore_measured_magnitude(predicted, low_res, model.factor)[0, 0].numpy()

    base = output(target, reference)
    drawn = lesion[0, 0].numpy()
    kept = share(output(target + 0.15 * lesion, reference) - base, 0.15 * drawn, place)
    invented = share(output(target, reference - 0.1 * lesion) - base, 0.1 * drawn, place)
    assert kept > 0.8
    assert abs(invented) < 0.2
