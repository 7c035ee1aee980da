# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch.testing import assert_close

from bundle.keys import CASE, IMAGE, REFERENCE
from bundle.transforms import SimulateScand

SHAPE = (40, 42, 30)


def item(case: str = "a", value: float = 100.0) -> dict:
    volume = torch.full((1, *SHAPE), value)
    volume[:, :20] = 0  # air
    return {key: MetaTensor(volume.clone()) for key in (IMAGE, REFERENCE)} | {CASE: case}


def scanned(noise: float, bias: float, case: str = "a", value: float = 100.0) -> np.ndarray:
    return SimulateScand(noise, bias)(item(case, value))[IMAGE].numpy()[0]


def test_noise_has_the_moments_of_rician_noise() -> None:
    volume = scanned(0.02, 0)
    tissue, air = volume[20:], volume[:20]
    assert tissue.mean() == pytest.approx(np.sqrt(100**2 + 2**2), rel=1e-3)
    assert tissue.std() == pytest.approx(2, rel=0.02)
    assert air.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.02)  # Rayleigh
    assert volume.min() >= 0


def test_noise_follows_the_scale_of_the_volume() -> None:
    np.testing.assert_allclose(scanned(0.02, 0.1, value=1000.0), 10 * scanned(0.02, 0.1), rtol=1e-4)


def test_field_is_smooth_and_has_its_amplitude() -> None:
    field = scanned(0, 0.3)[20:] / 100
    assert field.max() <= 1.3 + 1e-6
    assert field.min() >= 0.7 - 1e-6
    assert np.abs(np.diff(field, axis=1)).max() < 0.1
    assert np.ptp(field) > 0.1


def test_a_case_is_the_same_at_every_reading_and_unlike_others() -> None:
    assert_close(torch.from_numpy(scanned(0.02, 0.2)), torch.from_numpy(scanned(0.02, 0.2)))
    assert not np.allclose(scanned(0.02, 0.2), scanned(0.02, 0.2, case="b"))


def test_contrasts_have_noise_of_their_own() -> None:
    out = SimulateScand(0.02, 0)(item())
    assert not torch.allclose(out[IMAGE].as_tensor(), out[REFERENCE].as_tensor())


@pytest.mark.parametrize(("noise", "bias"), [(-0.1, 0), (0, 1.0), (0, -0.2), (float("nan"), 0)])
def test_what_no_scanner_does_is_refused(noise, bias) -> None:
    with pytest.raises(ValueError, match="give noise of 0 or more"):
        SimulateScand(noise, bias)
