# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch import nn
from torch.testing import assert_close

from bundle.engines import TiledSliceInferer
from bundle.engines.inferer import occupied, tiles, widened
from bundle.errors import InputError
from bundle.networks import DataConsistency, FastGenerator, Generator, SingleContrastResidual, ZengCascade

NETWORKS = {
    "one level": lambda: Generator(),
    "residual": lambda: Generator(residual=True),
    "image fusion": lambda: Generator("image"),
    "no reference": lambda: Generator("none"),
    "progressive": lambda: Generator(levels=2, residual=True),
    "shared levels": lambda: Generator(levels=2, share_levels=True),
    "single contrast": lambda: SingleContrastResidual(8, 3),
    "Zeng": lambda: ZengCascade(4, 8),
    "fast": lambda: FastGenerator(n_features=8, n_blocks=3),
    "fast, by 4": lambda: FastGenerator(n_features=8, n_blocks=1, unshuffle=4),
    "fast, by 3, progressive": lambda: FastGenerator("feature", levels=2, n_features=8, n_blocks=1, unshuffle=3),
    "fast, no reference": lambda: FastGenerator("none", n_features=8, n_blocks=2),
}


def lively(network: nn.Module) -> nn.Module:
    """Give every layer a say: networks start as the identity."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.uniform_(module.weight, -0.1, 0.2)
            module.weight.data *= 2 / module.weight[:, 0].numel() ** 0.5
    return network.eval()


def whole(volume: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """Return what a network makes of whole slices, one by one."""
    with torch.no_grad():
        return torch.stack([network(volume[..., i]) for i in range(volume.shape[-1])], dim=-1)


def assert_equal_but_for_rounding(output: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.abs().max() > 0
    assert_close(output / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("slices_per_batch", [1, 2, 7])
@pytest.mark.parametrize("shape", [(17, 17, 1), (20, 23, 5)])
def test_slice_inferer_equals_a_loop_over_slices(shape, slices_per_batch) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(2, 1, 3, padding=1)
    volume = torch.rand(1, 2, *shape)
    inferer = TiledSliceInferer(slices_per_batch, mixed_precision=False)
    with torch.no_grad():
        expected = torch.stack([network(volume[..., i]) for i in range(shape[-1])], dim=-1)
    assert_close(inferer(volume, network), expected)


def test_slice_inferer_never_gives_the_network_more_slices_than_asked_for() -> None:
    seen = []

    def network(slices: torch.Tensor) -> torch.Tensor:
        seen.append(len(slices))
        return slices[:, :1]

    TiledSliceInferer(2, mixed_precision=False)(torch.rand(1, 2, 18, 18, 5), network)
    assert sum(seen) == 5
    assert max(seen) == 2


def test_slice_inferer_returns_float32_that_outlives_inference_mode() -> None:
    output = TiledSliceInferer(mixed_precision=True)(torch.rand(1, 2, 18, 18, 2), nn.Conv2d(2, 1, 3, padding=1))
    assert output.dtype == torch.float32
    assert not output.requires_grad
    assert not output.is_inference()


def test_slice_inferer_returns_every_level_of_a_network_that_has_several() -> None:
    volume = torch.rand(1, 2, 18, 19, 5)

    def levels(slices: torch.Tensor) -> list[torch.Tensor]:
        return [slices[:, :1], 2 * slices[:, 1:]]

    first, second = TiledSliceInferer(2, mixed_precision=False)(volume, levels)
    assert_close(first, volume[:, :1])
    assert_close(second, 2 * volume[:, 1:])


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_what_the_whole_slice_gives(name) -> None:
    network = lively(NETWORKS[name]())
    volume = 0.1 + torch.rand(1, 2, 71, 60, 1)
    output = TiledSliceInferer(mixed_precision=False, tile=33)(volume, network)
    assert_equal_but_for_rounding(output, whole(volume, network))


@pytest.mark.parametrize("name", NETWORKS)
def test_air_is_left_out_without_a_trace(name) -> None:
    network = lively(NETWORKS[name]())
    volume = torch.zeros(1, 2, 90, 75, 4)
    volume[:, :, 40:52, 30:33, 1] = torch.rand(2, 12, 3)
    volume[:, 1, 0, 74, 2] = 1.0  # one voxel of one contrast, in a corner
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:].numel()))
    output = TiledSliceInferer(1, mixed_precision=False)(volume, network)
    assert len(seen) == 2, "two of four slices are air"
    assert sum(seen) < 2 * 90 * 75
    assert_equal_but_for_rounding(output, whole(volume, network))


def test_tiles_and_air_are_exact_in_double_precision() -> None:
    network = lively(Generator()).double()
    volume = torch.zeros(1, 2, 90, 60, 1, dtype=torch.float64)
    volume[:, :, 35:, :25] = torch.rand(1, 2, 55, 25, 1)
    output = TiledSliceInferer(mixed_precision=False, tile=32)(volume, network)
    expected = whole(volume, network)
    assert_close(output / expected.max(), expected / expected.max(), rtol=0, atol=1e-7, check_dtype=False)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_reach_of_a_network_is_how_far_a_pixel_acts(name) -> None:
    network = lively(NETWORKS[name]()).double()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.data.abs_()  # nothing cancels
    middle = network.reach + 3
    middle -= middle % getattr(network, "multiple", 1)  # the first of a block of pixels, which reaches farthest down
    image = torch.rand(1, 2, 2 * middle, 25, dtype=torch.float64)
    changed = image.clone()
    changed[..., middle, 12] += 1
    with torch.no_grad():
        acts = (network(changed) != network(image))[0, 0]
    rows = acts.any(1).nonzero().flatten()
    ways = middle - int(rows[0]), int(rows[-1]) - middle
    assert max(ways) == network.reach
    assert min(ways) > network.reach - getattr(network, "multiple", 1)


def test_biased_networks_see_the_air() -> None:
    network = lively(Generator(bias=True))
    nn.init.constant_(network.levels[0].decoder.last.bias, 0.5)
    volume = torch.zeros(1, 2, 40, 40, 2)
    assert_close(TiledSliceInferer(mixed_precision=False)(volume, network), whole(volume, network))
    assert whole(volume, network).min() == 0.5


def test_a_volume_of_air_alone_is_air() -> None:
    output = TiledSliceInferer()(torch.zeros(1, 2, 20, 21, 3), Generator())
    assert_close(output, torch.zeros(1, 1, 20, 21, 3))


@pytest.mark.parametrize(("unshuffle", "n_parts"), [(1, 4), (2, 1)])
def test_tiles_count_the_positions_that_a_network_works_on(unshuffle, n_parts) -> None:
    network = FastGenerator(n_features=4, n_blocks=1, unshuffle=unshuffle).eval()
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    TiledSliceInferer(tile=32)(0.1 + torch.rand(1, 2, 64, 60, 1), network)
    assert len(seen) == n_parts


def test_levels_are_cut_and_cropped_too() -> None:
    network = lively(Generator(levels=2))
    volume = torch.zeros(1, 2, 100, 40, 2)
    volume[..., 40:60, 10:30, 1] = torch.rand(1, 2, 20, 20)
    for level, expected in zip(
        TiledSliceInferer(mixed_precision=False, tile=32)(volume, network.forward_levels),
        network.forward_levels(volume[..., 1]),
        strict=True,
    ):
        assert_equal_but_for_rounding(level[..., 1], expected.detach())
        assert not level[..., 0].any()


def test_a_network_that_sees_the_whole_slice_is_not_cut(caplog) -> None:
    network = Generator(consistency=DataConsistency(2, magnitude=False)).eval()
    nn.init.uniform_(network.levels[0].decoder.last.weight, 0, 0.02)
    volume = torch.zeros(1, 2, 70, 81, 2)
    volume[..., 30:50, 30:50, 0] = torch.rand(1, 2, 20, 20)
    inferer = TiledSliceInferer(mixed_precision=False, tile=40)
    for _ in range(2):
        assert_equal_but_for_rounding(inferer(volume, network), whole(volume, network))
    assert caplog.text.count("every output pixel of this network depends on the whole slice") == 1


def test_volumes_of_a_batch_are_done_one_by_one() -> None:
    network = lively(Generator())
    volumes = torch.rand(2, 2, 20, 23, 2)
    output = TiledSliceInferer(mixed_precision=False)(volumes, network)
    for one, volume in zip(output, volumes, strict=True):
        assert_equal_but_for_rounding(one[None], whole(volume[None], network))


def test_metadata_are_those_of_the_input() -> None:
    affine = torch.diag(torch.tensor([1.0, 2, 3, 1], dtype=torch.float64))
    volume = MetaTensor(torch.rand(2, 18, 18, 2), affine=affine)
    output = TiledSliceInferer()(volume[None], Generator())[0]
    assert isinstance(output, MetaTensor)
    assert_close(output.affine, affine)


def test_each_slice_of_the_output_is_one_piece_of_memory() -> None:
    output = TiledSliceInferer()(torch.rand(1, 2, 18, 19, 4), Generator())
    assert output[0, 0, ..., 2].is_contiguous()


def test_small_slices_go_together_unless_told_otherwise() -> None:
    seen: list[int] = []

    def network(slices: torch.Tensor) -> torch.Tensor:
        seen.append(len(slices))
        return slices[:, :1]

    TiledSliceInferer()(torch.rand(1, 2, 128, 128, 6), network)
    TiledSliceInferer()(torch.rand(1, 2, 256, 300, 2), network)
    assert seen == [4, 2, 1, 1]


@pytest.mark.parametrize(
    "options", [{"slices_per_batch": 0}, {"slices_per_batch": "all"}, {"tile": 31}, {"tile": "auto"}], ids=str
)
def test_settings_that_make_no_sense_are_refused(options) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(options))} is "):
        TiledSliceInferer(**options)


@given(
    start=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    length=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    size=st.integers(5, 40),
    reach=st.integers(0, 20),
    multiple=st.integers(1, 4),
)
@settings(deadline=None)
def test_tiles_fill_a_region_once_and_overlap_by_the_reach(start, length, size, reach, multiple) -> None:
    region = tuple(slice(multiple * s, multiple * s + n) for s, n in zip(start, length, strict=True))
    count = torch.zeros(150, 150)
    for read, kept in tiles(region, size, reach, multiple):
        count[kept] += 1
        for r, k, axis in zip(read, kept, region, strict=True):
            assert k.stop - k.start <= size
            assert r.start % multiple == 0
            assert r.start == axis.start or reach <= k.start - r.start < reach + multiple
            assert r.start >= axis.start
            assert r.stop == min(k.stop + reach, axis.stop)
    expected = torch.zeros(150, 150)
    expected[region] = 1
    assert_close(count, expected)


def test_the_occupied_region_holds_every_voxel_of_both_contrasts() -> None:
    slices = torch.zeros(2, 2, 20, 30)
    assert occupied(slices) is None
    slices[0, 0, 3, 20] = slices[1, 1, 11, 7] = -1.0
    region = occupied(slices)
    assert region == (slice(3, 12), slice(7, 21))
    assert widened(region, 5, (slice(0, 20), slice(0, 30))) == (slice(0, 17), slice(2, 26))


def test_network_with_known_factors_is_told_what_the_metadata_know() -> None:
    network = FastGenerator(n_features=8, n_blocks=2, known_factors=[2, 3])
    lively(network)
    for difference in network.known_factors.differences:
        nn.init.normal_(difference, std=0.05)
    volume = torch.rand(1, 2, 16, 18, 3)
    told = MetaTensor(volume, meta={"zero_filled_by": 2.5})
    expected = torch.stack([network(volume[..., i], torch.tensor([2.5])) for i in range(3)], dim=-1)
    assert_close(TiledSliceInferer(mixed_precision=False)(told, network).as_tensor(), expected)
    assert_close(TiledSliceInferer(mixed_precision=False)(volume, network), whole(volume, network))
    assert (expected - whole(volume, network)).abs().max() > 1e-3
    blind = FastGenerator(n_features=8, n_blocks=2)
    assert_close(TiledSliceInferer()(told, lively(blind)).as_tensor(), whole(volume, blind), rtol=0, atol=0.02)
