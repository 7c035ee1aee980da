# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.metrics import ifc, psnr, psnr_head, ssim, ssim_head

Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
METRICS = pytest.mark.parametrize("metric", [psnr, ssim, ifc, psnr_head, ssim_head])


@METRICS
@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (2, 2, 8, 8), (1, 1, 8, 8, 8), (0, 1, 8, 8)])
def test_metric_refuses_a_shape_that_is_not_single_channel_slices(metric: Metric, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"reference has shape .* pass single-channel slices"):
        metric(torch.zeros(shape), torch.zeros(shape))


@METRICS
def test_metric_refuses_shapes_that_would_broadcast(metric: Metric) -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 8, 8\) and distorted \(1, 1, 8, 8\) differ in shape"):
        metric(torch.zeros(2, 1, 8, 8), torch.zeros(1, 1, 8, 8))


@METRICS
def test_metric_refuses_arrays_and_complex_tensors(metric: Metric) -> None:
    slices = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="distorted is ndarray; pass a real tensor"):
        metric(slices, np.zeros((1, 1, 8, 8)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"reference is torch.complex64; pass a real tensor"):
        metric(slices.to(torch.complex64), slices)


@METRICS
def test_metric_of_meta_tensors_is_a_plain_tensor(metric: Metric) -> None:
    slices = torch.rand(1, 1, 8, 8)
    assert type(metric(MetaTensor(slices), MetaTensor(slices / 2))) is torch.Tensor
