# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bundle.acquisition import ScannerFamily
from bundle.data import PatchStream, SliceStack
from bundle.errors import InputError
from bundle.keys import HIGH_RES, IMAGE, LEVEL_TARGETS, ZERO_FILLED_BY


def stack(n_slices: int = 4, height: int = 64, width: int = 64) -> SliceStack:
    """Slices whose voxels name their own place: low-res the row, reference the column, high-res the slice."""
    slices = SliceStack.__new__(SliceStack)
    slices.voxels = torch.zeros(n_slices, 3, height, width, dtype=torch.float16)
    slices.voxels[:, 0] = torch.arange(height)[:, None]
    slices.voxels[:, 1] = torch.arange(width)
    slices.voxels[:, 2] = torch.arange(n_slices)[:, None, None]
    slices.sizes = torch.tensor([[height, width]] * n_slices)
    return slices


def corners(batch: dict[str, torch.Tensor]) -> list[tuple[int, int, int]]:
    """Read slice, row and column of each patch's first voxel back from the patch."""
    first = [batch[HIGH_RES][:, 0, 0, 0], batch[IMAGE][:, 0, 0, 0], batch[IMAGE][:, 1, 0, 0]]
    return [tuple(int(v) for v in place) for place in zip(*first, strict=True)]


def test_a_slice_of_256_gives_the_16_patches_of_a_4_by_4_grid() -> None:
    stream = PatchStream(stack(1, 256, 256), batch_size=16)
    assert len(stream) == 1
    starts = (0, 64, 128, 192)
    assert set(corners(stream.next_batch())) == {(0, row, column) for row in starts for column in starts}


def test_the_paper_s_training_set_makes_3500_updates_an_epoch() -> None:
    stream = PatchStream.__new__(PatchStream)
    stream.corners, stream.batch_size = torch.zeros(7000 * 16, 3), 32
    assert len(stream) == 3500


@given(height=st.integers(16, 60), width=st.integers(16, 60))
@settings(deadline=None, max_examples=25)
def test_grid_patches_cover_every_voxel_of_any_matrix(height, width) -> None:
    stream = PatchStream(stack(1, height, width), patch_size=16, batch_size=1)
    covered = torch.zeros(height, width, dtype=torch.bool)
    for _ in range(len(stream)):
        ((_, row, column),) = corners(stream.next_batch())
        covered[row : row + 16, column : column + 16] = True
    assert covered.all()


def test_one_pass_visits_every_patch_once_and_the_next_in_another_order() -> None:
    stream = PatchStream(stack(4), patch_size=16, batch_size=8)
    passes = [[c for _ in range(len(stream)) for c in corners(stream.next_batch())] for _ in range(2)]
    assert Counter(passes[0]) == Counter(passes[1])
    assert len(set(passes[0])) == 4 * 16
    assert passes[0] != passes[1]


@given(position=st.integers(0, 1000), seed=st.integers(0, 100), sampling=st.sampled_from(["grid", "random"]))
@settings(deadline=None, max_examples=25)
def test_a_batch_depends_on_seed_and_position_alone(position, seed, sampling) -> None:
    arguments = {"patch_size": 16, "batch_size": 8, "sampling": sampling, "seed": seed}
    wandered = PatchStream(stack(), **arguments)
    wandered.batch(3)
    fresh = PatchStream(stack(), **arguments)
    fresh.load_state_dict({"position": position})
    assert_close(fresh.next_batch()[IMAGE], wandered.batch(position)[IMAGE])


def test_streams_of_different_seed_differ() -> None:
    first, second = (corners(PatchStream(stack(), patch_size=16, seed=seed).batch(0)) for seed in (0, 1))
    assert first != second


def test_random_patches_stay_inside_and_change_at_every_pass() -> None:
    stream = PatchStream(stack(3, 40, 50), patch_size=16, batch_size=4, sampling="random")
    passes = [[c for _ in range(len(stream)) for c in corners(stream.next_batch())] for _ in range(3)]
    rows, columns = ({place[i] for found in passes for place in found} for i in (1, 2))
    assert (min(rows), max(rows)) == (0, 24)
    assert max(columns) <= 34
    assert len(set(passes[0]) & set(passes[1])) < len(passes[0]) / 2


def test_the_order_is_the_one_it_always_was() -> None:
    """Constants of version 0.6.0, in whose order the shipped weights were trained."""
    stream = PatchStream(stack(), patch_size=16, batch_size=3, seed=5)
    assert corners(stream.batch(0)) == [(2, 0, 16), (3, 48, 48), (1, 48, 48)]
    assert corners(stream.batch(9)) == [(1, 0, 16), (0, 0, 16), (2, 48, 0)]
    changes = {"sampling": "random", "gain_jitter": 0.2, "noise_jitter": 0.1, "flips": True, "reference_shift": 3}
    batch = PatchStream(stack(), patch_size=16, batch_size=3, seed=5, **changes).batch(9)
    found = torch.stack([batch[IMAGE].mean(), batch[IMAGE].std(), batch[HIGH_RES].mean(), batch[HIGH_RES].std()])
    assert_close(found, torch.tensor([31.3788128, 13.0319519, 0.8594380, 0.6978784]), rtol=1e-6, atol=0)


def test_smaller_slices_are_never_read_beyond_their_edge() -> None:
    slices = stack(2, 40, 40)
    slices.sizes[1] = torch.tensor([20, 24])
    stream = PatchStream(slices, patch_size=16, batch_size=1, sampling="random")
    for _ in range(5 * len(stream)):
        ((number, row, column),) = corners(stream.next_batch())
        assert number == 0 or (row <= 4 and column <= 8)


def test_level_targets_are_cut_at_the_same_places_and_scaled_alike() -> None:
    slices = stack()
    slices.voxels = torch.cat((slices.voxels, slices.voxels[:, 2:]), dim=1)  # a level target equal to the high-res
    batch = PatchStream(slices, patch_size=16, batch_size=8, gain_jitter=0.2).batch(3)
    assert_close(batch[LEVEL_TARGETS], batch[HIGH_RES])


def test_gain_jitter_scales_low_res_and_high_res_alike_and_leaves_the_reference() -> None:
    plain = PatchStream(stack(), patch_size=16, batch_size=8)
    jittered = PatchStream(stack(), patch_size=16, batch_size=8, gain_jitter=0.2)
    batches = plain.batch(5), jittered.batch(5)
    assert_close(batches[1][IMAGE][:, 1], batches[0][IMAGE][:, 1])
    gains = batches[1][IMAGE][:, 0, 1, 0] / batches[0][IMAGE][:, 0, 1, 0]
    assert_close(batches[1][HIGH_RES], batches[0][HIGH_RES] * gains.view(-1, 1, 1, 1))
    assert gains.unique().numel() == 8
    assert (gains.log().abs() <= 0.2).all()
    assert_close(jittered.batch(5)[IMAGE], batches[1][IMAGE])


def test_noise_falls_on_low_res_and_reference_alone_with_deviations_up_to_the_given() -> None:
    plain = PatchStream(stack(8), patch_size=64, batch_size=8)
    noisy = PatchStream(stack(8), patch_size=64, batch_size=8, noise_jitter=0.5)
    before, after = plain.batch(5), noisy.batch(5)
    assert_close(after[HIGH_RES], before[HIGH_RES])
    noise = after[IMAGE] - before[IMAGE]
    deviations = noise.std(dim=(2, 3))
    assert_close(deviations[:, 0], deviations[:, 1], rtol=0.06, atol=0)  # 4096 pixels: 1.1 % each
    assert deviations.max() < 0.52
    assert deviations.max() > 2 * deviations.min()
    assert (noise.flatten(2).mean(dim=2).abs() < 4 * deviations / 64).all()
    assert noise[:, 0].flatten(1).mul(noise[:, 1].flatten(1)).mean(dim=1).abs().max() < 0.02
    assert_close(noisy.batch(5)[IMAGE], after[IMAGE])


def test_flips_turn_all_channels_of_a_patch_alike_into_its_eight_images() -> None:
    slices = stack(1, 16, 16)
    slices.voxels = torch.rand(1, 1, 16, 16).half().expand(1, 3, 16, 16)
    image = slices.voxels[0, 0].float()
    images = [
        turn(mirror) for mirror in (image, image.flip(0), image.flip(1), image.flip(0, 1)) for turn in (_same, _t)
    ]
    stream = PatchStream(slices, patch_size=16, batch_size=1, flips=True)
    found = Counter()
    for position in range(80):
        batch = stream.batch(position)
        assert_close(batch[IMAGE], batch[HIGH_RES].expand(1, 2, 16, 16))
        (index,) = [i for i, one in enumerate(images) if torch.equal(one, batch[HIGH_RES][0, 0])]
        found[index] += 1
    assert len(found) == 8
    assert_close(stream.batch(3)[IMAGE], stream.batch(3)[IMAGE])


def _same(image: torch.Tensor) -> torch.Tensor:
    return image


def _t(image: torch.Tensor) -> torch.Tensor:
    return image.T


@pytest.mark.parametrize("sampling", ["grid", "random"])
def test_the_reference_is_cut_up_to_the_shift_away_and_never_outside(sampling) -> None:
    slices = stack(2, 40, 50)
    slices.voxels[:, 1] = slices.voxels[:, 0] * 50 + slices.voxels[:, 1]  # the reference tells row and column
    plain = PatchStream(slices, patch_size=16, batch_size=4, sampling=sampling)
    shifted = PatchStream(slices, patch_size=16, batch_size=4, sampling=sampling, reference_shift=2)
    seen = set()
    for position in range(3 * len(plain)):
        before, after = plain.batch(position), shifted.batch(position)
        assert_close(after[IMAGE][:, 0], before[IMAGE][:, 0])
        assert_close(after[HIGH_RES], before[HIGH_RES])
        was, is_ = before[IMAGE][:, 1, 0, 0], after[IMAGE][:, 1, 0, 0]
        rows, columns = is_.div(50, rounding_mode="floor"), is_ % 50
        assert (rows <= 24).all()
        assert (columns <= 34).all()
        seen |= {(int(r - w // 50), int(c - w % 50)) for r, c, w in zip(rows, columns, was, strict=True)}
    assert {way for ways in seen for way in ways} == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"patch_size": 72}, InputError, "only 64 voxels wide"),
        ({"sampling": "grids"}, ValueError, "choose grid or random"),
        ({"batch_size": 0}, ValueError, "a whole number from 1"),
        ({"gain_jitter": 1.5}, ValueError, "gain_jitter is 1.5"),
        ({"noise_jitter": -0.1}, ValueError, "noise_jitter is -0.1"),
        ({"reference_shift": 0.5}, ValueError, "a whole number of pixels"),
    ],
)
def test_impossible_patches_are_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        PatchStream(stack(), **arguments)


def test_stream_with_a_family_degrades_each_batch_anew_and_goes_on_exactly() -> None:
    undegraded = stack(4, 40, 36)
    undegraded.voxels = torch.rand(4, 2, 40, 36).half()
    streams = [PatchStream(undegraded, 32, 4, "random", family=ScannerFamily(), seed=3) for _ in range(2)]
    first, second = streams[0].next_batch(), streams[0].next_batch()
    assert first[IMAGE].shape == (4, 2, 32, 32)
    assert first[HIGH_RES].shape == (4, 1, 32, 32)
    assert not torch.equal(first[IMAGE], second[IMAGE])
    streams[1].load_state_dict({"position": 1})
    again = streams[1].next_batch()
    assert_close(again[IMAGE], second[IMAGE], rtol=0, atol=0)
    assert_close(again[HIGH_RES], second[HIGH_RES], rtol=0, atol=0)


def test_stream_with_a_family_tells_by_which_factor_each_patch_was_zero_filled() -> None:
    undegraded = stack(4, 40, 36)
    undegraded.voxels = torch.rand(4, 2, 40, 36).half()
    plain = ScannerFamily(clean=1.0, alike=1.0, largest_factor=4.0)
    known = PatchStream(undegraded, 32, 4, family=plain).next_batch()[ZERO_FILLED_BY]
    assert known.shape == (4,)
    assert known.min() > 1.1
    assert PatchStream(undegraded, 32, 4, family=ScannerFamily(clean=0.0)).next_batch()[ZERO_FILLED_BY].min() == 0
    assert ZERO_FILLED_BY not in PatchStream(stack(4, 40, 36), 32, 4).next_batch()


def test_stream_with_a_family_keeps_the_target_but_for_a_factor() -> None:
    undegraded = stack(2, 40, 40)
    undegraded.voxels = torch.rand(2, 2, 40, 40).half()
    batch = PatchStream(undegraded, 40, 2, family=ScannerFamily()).next_batch()
    found = sorted(float(target.sum() / target.max()) for target in batch[HIGH_RES])
    targets = undegraded.voxels[:, 1].float()
    assert found == pytest.approx(sorted(float(target.sum() / target.max()) for target in targets), rel=1e-5)
