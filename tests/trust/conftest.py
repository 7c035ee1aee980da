# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


@pytest.fixture(scope="session")
def head() -> dict[str, np.ndarray]:
    """A round head (96, 80, 8) with the same fluid in every contrast: bright in T2w, dark in T1w."""
    random = np.random.default_rng(0)
    rows, columns = np.meshgrid(np.linspace(-1.3, 1.3, 96), np.linspace(-1.2, 1.2, 80), indexing="ij")
    inside = (np.hypot(rows, columns) < 1).astype(float)[..., None]
    fluid = gaussian_filter(random.standard_normal((96, 80, 8)), (3, 3, 0))
    fluid = (fluid > 1.2 * fluid.std()).astype(float)
    texture = gaussian_filter(random.standard_normal((96, 80, 8)), (4, 4, 0))
    tissue = 1 + 0.05 * texture / texture.std()
    maps = {"T2w": 0.3 * tissue + 0.6 * fluid, "T1w": 0.6 * tissue - 0.4 * fluid}
    return {name: (inside * volume).clip(0).astype(np.float32) for name, volume in maps.items()}
