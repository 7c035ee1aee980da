# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.metrics import CumulativeIterationMetric

from bundle.metrics import SliceMetric, head_mask, ifc, psnr, psnr_head, ssim, ssim_head


def volumes(n: int = 2, depth: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    high_res = torch.rand(n, 1, 24, 27, depth, generator=generator)
    return high_res * torch.linspace(0.5, 0.9, depth), high_res


@pytest.mark.parametrize(("name", "function"), [("psnr", psnr), ("ssim", ssim), ("ifc", ifc)])
def test_slice_metric_scores_each_slice_along_the_last_axis(name, function) -> None:
    pred, high_res = volumes()
    scores = SliceMetric(name)(pred, high_res)
    expected = [function(high_res[b, ..., k][None], pred[b, ..., k][None]) for b in range(2) for k in range(3)]
    torch.testing.assert_close(scores, torch.cat(expected)[:, None])


@pytest.mark.parametrize(("name", "function"), [("psnr_head", psnr_head), ("ssim_head", ssim_head)])
def test_slice_metric_inside_the_head_takes_it_from_the_ground_truth(name, function) -> None:
    pred, high_res = volumes(1)
    high_res[:, :, :8] = 0  # air
    slices, expected_from = (volume[0].movedim(-1, 0) for volume in (high_res, pred))
    expected = function(slices, expected_from, head_mask(slices))
    torch.testing.assert_close(SliceMetric(name)(pred, high_res), expected[:, None])


def test_slice_metric_of_slices_and_lists_equals_that_of_the_batch() -> None:
    pred, high_res = volumes(depth=1)
    expected = SliceMetric("psnr")(pred, high_res)
    torch.testing.assert_close(SliceMetric("psnr")(pred[..., 0], high_res[..., 0]), expected)
    torch.testing.assert_close(SliceMetric("psnr")(list(pred), list(high_res)), expected)


def test_slice_metric_averages_over_all_slices_whatever_the_depths() -> None:
    metric = SliceMetric("psnr")
    scores = torch.cat([metric(*volumes(1, depth=4)), metric(*volumes(1, depth=1))])
    torch.testing.assert_close(metric.aggregate(), scores.mean())
    assert metric.get_buffer().shape == (5, 1)
    metric.reset()
    with pytest.raises(ValueError, match="no slice has been scored; call the psnr metric"):
        metric.aggregate()


def test_slice_metric_mean_survives_an_infinite_score_but_not_nan() -> None:
    pred, high_res = volumes()
    metric = SliceMetric("psnr")
    scores = metric(pred, high_res)
    metric(torch.zeros(1, 1, 9, 10), torch.zeros(1, 1, 9, 10))
    torch.testing.assert_close(metric.aggregate(), scores.mean())
    metric(torch.full((1, 1, 9, 10), math.nan), torch.zeros(1, 1, 9, 10))
    assert math.isnan(metric.aggregate().item())


def test_slice_metric_mean_is_infinite_when_every_slice_is_perfect() -> None:
    _, high_res = volumes()
    metric = SliceMetric("psnr")
    metric(high_res, high_res)
    assert metric.aggregate().item() == math.inf


def test_slice_metric_works_as_a_handler_from_a_config() -> None:
    pred, high_res = volumes()
    parser = ConfigParser(
        {
            "PSNR": {
                "_target_": "IgniteMetricHandler",
                "metric_fn": {"_target_": "bundle.metrics.SliceMetric", "metric": "psnr"},
                "output_transform": "$monai.handlers.from_engine(['pred', 'high_res'])",
            },
            "imports": ["$import monai"],
        }
    )
    handler = parser.get_parsed_content("PSNR")
    engine = Engine(lambda _, k: [{"pred": pred[k], "high_res": high_res[k]}])
    handler.attach(engine, "PSNR")
    state = engine.run([0, 1])
    expected = SliceMetric("psnr")(pred, high_res)
    assert state.metrics["PSNR"] == pytest.approx(expected.mean().item())
    torch.testing.assert_close(state.metric_details["PSNR"], expected)


def test_slice_metric_names_the_choices_for_an_unknown_metric() -> None:
    with pytest.raises(
        ValueError, match="metric 'sim' is unknown; choose one of psnr, ssim, ifc, psnr_head, ssim_head"
    ):
        SliceMetric("sim")  # type: ignore[arg-type]
    assert isinstance(SliceMetric("ssim"), CumulativeIterationMetric)


def test_slice_metric_asks_for_the_ground_truth() -> None:
    pred, _ = volumes()
    with pytest.raises(ValueError, match="ssim compares with the ground truth; pass it as y"):
        SliceMetric("ssim")(pred)
