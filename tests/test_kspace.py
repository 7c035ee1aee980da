# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from bundle.kspace import (
    block_mask,
    in_plane_factors,
    kept_block,
    level_factors,
    project,
    projection_matrix,
    restore_measured,
    restore_measured_magnitude,
    zero_fill,
    zero_pad,
)

sizes = st.integers(4, 40)
factors = st.sampled_from([1, 1.5, 2, 3, 4])


def random_image(height: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def numpy_zero_fill(image: np.ndarray, factor: float) -> np.ndarray:
    """The definition in centred k-space, written out, as the protocol states it."""
    k_space = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    kept = np.zeros_like(k_space)
    window = []
    for n in image.shape:
        n_kept = round(n / factor)
        start = n // 2 - n_kept // 2
        window.append(slice(start, start + n_kept))
    kept[tuple(window)] = k_space[tuple(window)]
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kept), norm="ortho"))


@pytest.mark.parametrize(("factor", "kept", "share"), [(2, 128, 0.25), (3, 85, 0.111), (4, 64, 0.0625)])
def test_kept_block_holds_the_share_of_k_space_that_the_paper_states(factor, kept, share) -> None:
    start, stop = kept_block(256, factor)
    assert stop - start == kept
    assert (kept / 256) ** 2 == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize(
    ("size", "factor", "block", "symmetric"),
    [(8, 2, (2, 6), (3, 6)), (9, 3, (3, 6), (3, 6)), (9, 2, (2, 6), (3, 6)), (8, 1, (0, 8), (0, 8))],
)
def test_block_mask_drops_the_row_without_a_partner_on_request_only(size, factor, block, symmetric) -> None:
    assert kept_block(size, factor) == block
    for mask, (start, stop) in ((block_mask(size, factor), block), (block_mask(size, factor, True), symmetric)):
        assert mask.nonzero()[:, 0].tolist() == list(range(start, stop))


@given(n=sizes, factor=factors)
def test_kept_block_is_centred_on_the_zero_frequency(n, factor) -> None:
    start, stop = kept_block(n, factor)
    below, above = n // 2 - start, stop - 1 - n // 2
    assert below - above in (0, 1)


@pytest.mark.parametrize("factor", [0, -2, 0.5, "4", True, None, float("nan")])
def test_kept_block_refuses_a_factor_that_is_none(factor) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        kept_block(64, factor)


def test_kept_block_refuses_a_factor_that_keeps_nothing() -> None:
    with pytest.raises(ValueError, match="keeps no sample"):
        kept_block(20, 50)


@given(height=sizes, width=sizes, factor=factors)
@settings(deadline=None)
def test_zero_fill_equals_its_definition_in_centred_k_space(height, width, factor) -> None:
    image = random_image(height, width)
    expected = numpy_zero_fill(image[0, 0].numpy(), factor)
    assert_close(zero_fill(image, factor)[0, 0], torch.from_numpy(np.abs(expected)))


def test_zero_fill_keeps_a_wave_inside_the_block_and_removes_one_outside() -> None:
    column = torch.arange(64, dtype=torch.float64)
    slow = torch.cos(2 * math.pi * 3 * column / 64).expand(1, 1, 48, 64)
    fast = torch.cos(2 * math.pi * 20 * column / 64).expand(1, 1, 48, 64)
    assert_close(zero_fill(2 + slow + fast, 4), 2 + slow)


def test_zero_fill_of_a_point_is_the_analytic_sinc() -> None:
    image = torch.zeros(1, 1, 63, 63, dtype=torch.float64)
    image[..., 30, 25] = 1
    n_kept = 21  # odd on an odd matrix: the point spread function is the real Dirichlet kernel
    offset = torch.arange(63, dtype=torch.float64)

    def dirichlet(centre: int) -> torch.Tensor:
        angle = math.pi * (offset - centre) / 63
        return torch.where(angle == 0, n_kept / 63, torch.sin(n_kept * angle) / (63 * torch.sin(angle)))

    assert_close(zero_fill(image, 3, magnitude=False)[0, 0], dirichlet(30)[:, None] * dirichlet(25))


@given(height=sizes, width=sizes, factor=factors)
@settings(deadline=None)
def test_projection_is_idempotent_in_float32(height, width, factor) -> None:
    once = project(random_image(height, width, dtype=torch.float32), factor)
    assert_close(project(once, factor), once, atol=1e-6, rtol=0)


@given(height=sizes, width=sizes, factor=factors)
@settings(deadline=None)
def test_projection_is_self_adjoint(height, width, factor) -> None:
    x, y = random_image(height, width, 1), random_image(height, width, 2)
    assert_close((project(x, factor) * y).sum(), (x * project(y, factor)).sum())


@given(height=sizes, width=sizes, rows=factors, columns=factors)
@settings(deadline=None)
def test_matrices_of_both_axes_project_as_k_space_does(height, width, rows, columns) -> None:
    image = random_image(height, width, dtype=torch.float32)
    found = projection_matrix(height, rows) @ image @ projection_matrix(width, columns)
    assert_close(found, project(image, rows, columns), atol=1e-5, rtol=1e-5)


def test_matrix_projects_as_k_space_does_where_most_of_the_axis_is_measured() -> None:
    image = random_image(40, 3, dtype=torch.float32)
    assert_close(projection_matrix(40, 1.1) @ image, project(image, 1.1, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("column_factor", [None, 3])
def test_an_export_to_onnx_projects_by_matrices_without_any_transform(column_factor, monkeypatch) -> None:
    image = random_image(20, 27)
    expected = project(image, 2, column_factor)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.delattr(torch.fft, "fft2")
    assert_close(project(image, 2, column_factor), expected, atol=1e-6, rtol=1e-6)


def test_matrix_of_a_large_axis_is_as_exact_as_float32() -> None:
    image = random_image(1024, 3, dtype=torch.float32)
    assert_close(projection_matrix(1024, 4) @ image, project(image, 4, 1), atol=1e-5, rtol=1e-5)


@given(height=sizes, width=sizes, factor=factors)
@settings(deadline=None)
def test_projection_changes_nothing_outside_what_the_full_block_measures(height, width, factor) -> None:
    rows, columns = block_mask(height, factor), block_mask(width, factor)
    rows_symmetric, columns_symmetric = block_mask(height, factor, True), block_mask(width, factor, True)
    assert not (rows_symmetric & ~rows).any()
    assert not (columns_symmetric & ~columns).any()
    assert rows.sum() - rows_symmetric.sum() <= 1


def test_zero_fill_as_linear_operator_is_the_projection() -> None:
    image = random_image(33, 40)
    assert_close(zero_fill(image, 2, magnitude=False), project(image, 2))


def test_factor_one_changes_nothing() -> None:
    image = random_image(30, 31)
    assert_close(zero_fill(image, 1), image)
    assert_close(project(image, 1), image)


@given(scale=st.floats(0.1, 10), magnitude=st.booleans())
@settings(deadline=None)
def test_zero_fill_is_homogeneous_so_low_res_keeps_the_scale_of_high_res(scale, magnitude) -> None:
    image = random_image(20, 25)
    assert_close(zero_fill(scale * image, 4, magnitude), scale * zero_fill(image, 4, magnitude))


def test_zero_fill_scores_on_real_slices_are_those_of_the_protocol(shared_data) -> None:
    """4x low-res of sub-L12: another implementation found 30.12 dB, over slices it does not name."""
    import nibabel as nib

    errors = []
    for session in (1, 2):
        path = shared_data / "open_ms" / f"sub-L12_ses-{session}_T2w.nii.gz"
        voxels = nib.load(path).get_fdata(dtype=np.float32)
        high_res = torch.from_numpy(voxels / voxels.max()).movedim(-1, 0)
        errors.append((zero_fill(high_res, 4) - high_res).square().mean())
    assert -10 * torch.stack(errors).mean().log10().item() == pytest.approx(30.12, abs=0.5)


@given(height=sizes, width=sizes, factor=factors)
@settings(deadline=None)
def test_restoring_what_was_measured_never_raises_the_mse(height, width, factor) -> None:
    truth, output = random_image(height, width, 1), random_image(height, width, 2)
    restored = restore_measured(output, zero_fill(truth, factor, magnitude=False), factor)
    assert (restored - truth).square().sum() <= (output - truth).square().sum() + 1e-12


@given(height=sizes, width=sizes, factor=factors)
@settings(deadline=None)
def test_restored_image_holds_the_measured_block_and_restoring_twice_changes_nothing(height, width, factor) -> None:
    low_res = zero_fill(random_image(height, width, 1), factor, magnitude=False)
    once = restore_measured(random_image(height, width, 2), low_res, factor)
    assert_close(project(once, factor), low_res)
    assert_close(restore_measured(once, low_res, factor), once)


@given(height=sizes, width=sizes, factor=factors)
@settings(deadline=None)
def test_restoring_leaves_everything_outside_the_measured_block(height, width, factor) -> None:
    output = random_image(height, width, 2)
    low_res = zero_fill(random_image(height, width, 1), factor, magnitude=False)
    change = restore_measured(output, low_res, factor) - output
    assert_close(project(change, factor), change)


def edges(n: int = 64) -> torch.Tensor:
    """A bright square on air: its low-res image rings below 0, where the magnitude loses the sign."""
    image = torch.zeros(1, 1, n, n, dtype=torch.float64)
    image[..., n // 4 : -n // 3, n // 3 : -n // 4] = 1
    return image


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_sign_restored_magnitude_repairs_what_the_plain_step_would_damage(factor) -> None:
    truth = edges()
    output = truth + 0.02 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0), dtype=truth.dtype)
    low_res = zero_fill(truth, factor)

    def error(image: torch.Tensor) -> float:
        return (image - truth).square().mean().item()

    assert error(restore_measured_magnitude(output, low_res, factor)) < error(output)
    assert error(restore_measured(output, low_res, factor)) > error(output)


def test_truth_itself_is_a_fixed_point_of_the_magnitude_step_where_the_block_is_symmetric() -> None:
    truth = edges(63)  # 21 samples kept of 63: no unpaired row
    assert_close(restore_measured_magnitude(truth, zero_fill(truth, 3), 3), truth)


def test_magnitude_step_alternates_three_times_as_its_definition_written_out_in_numpy() -> None:
    truth = edges(63)  # 21 samples kept of 63: a symmetric block, whose projection is the real part alone
    output = (truth + 0.5 * random_image(63, 63)[:1] - 0.2)[0, 0].numpy()
    low_res = np.abs(numpy_zero_fill(truth[0, 0].numpy(), 3))
    expected = output
    for _ in range(3):
        low = numpy_zero_fill(expected, 3).real
        measured = numpy_zero_fill(np.where(low < 0, -low_res, low_res), 3).real
        expected = np.maximum(expected - low + measured, 0)
    found = restore_measured_magnitude(*(torch.from_numpy(image)[None, None] for image in (output, low_res)), 3)
    assert_close(found[0, 0], torch.from_numpy(expected))


def test_magnitude_step_takes_a_frequency_that_the_image_lacks_as_positive() -> None:
    low_res = zero_fill(1 + random_image(21, 21), 3)
    nothing = torch.zeros_like(low_res)
    assert_close(restore_measured_magnitude(nothing, low_res, 3, n_alternations=1), project(low_res, 3).clamp(min=0))


def test_magnitude_step_returns_no_negative_values_and_lets_gradients_through() -> None:
    output = (random_image(20, 22) - 0.3).requires_grad_()
    restored = restore_measured_magnitude(output, zero_fill(random_image(20, 22, 1), 2), 2)
    assert restored.min() >= 0
    restored.sum().backward()
    assert output.grad.abs().sum() > 0


def test_restoring_is_linear_and_its_gradient_is_what_was_not_measured() -> None:
    output, direction = random_image(20, 22).requires_grad_(), random_image(20, 22, 3)
    (restore_measured(output, random_image(20, 22, 1), 2) * direction).sum().backward()
    assert_close(output.grad, direction - project(direction, 2))


@pytest.mark.parametrize(("factor", "sessions"), [(2, (1, 2)), (4, (1, 2))])
def test_magnitude_step_does_not_lower_the_psnr_of_real_slices(shared_data, factor, sessions) -> None:
    """An output with errors as a network makes them: half-way between low-res and truth, blurred errors included."""
    import nibabel as nib

    for session in sessions:
        voxels = nib.load(shared_data / "open_ms" / f"sub-L12_ses-{session}_T2w.nii.gz").get_fdata(dtype=np.float32)
        truth = torch.from_numpy(voxels / voxels.max()).movedim(-1, 0)[10:34:8, None]
        low_res = zero_fill(truth, factor)
        output = 0.5 * truth + 0.5 * zero_fill(truth, 1.5 * factor)
        restored = restore_measured_magnitude(output, low_res, factor)
        errors = [(image - truth).square().mean((1, 2, 3)) for image in (restored, output)]
        assert (errors[0] <= errors[1]).all()


@pytest.mark.parametrize(("factor", "n_levels", "expected"), [(4, 2, [2]), (8, 3, [4, 2]), (4, 1, []), (9, 2, [3])])
def test_levels_share_the_way_to_the_high_res(factor, n_levels, expected) -> None:
    assert level_factors(factor, n_levels) == expected


def test_levels_have_factors_of_nine_digits() -> None:
    assert level_factors(2, 2) == [1.414213562]
    assert level_factors([2, 3], 2) == [[1.414213562, 1.732050808]]


def test_only_supervised_levels_have_a_factor() -> None:
    assert level_factors(4, 2, "final") == []
    with pytest.raises(ValueError, match="choose all"):
        level_factors(4, 2, "fianl")


@given(height=sizes, width=sizes, rows=factors, columns=factors)
@settings(deadline=None)
def test_zero_fill_keeps_another_block_on_each_axis(height, width, rows, columns) -> None:
    image = random_image(height, width)
    one_axis = zero_fill(image, rows, magnitude=False, column_factor=1)
    assert_close(zero_fill(one_axis, 1, False, columns), zero_fill(image, rows, False, columns))
    swapped = zero_fill(image.mT, columns, magnitude=True, column_factor=rows)
    assert_close(swapped.mT, zero_fill(image, rows, True, columns))


@pytest.mark.parametrize("magnitude", [True, False])
def test_zero_fill_with_a_factor_of_the_columns_removes_fast_waves_along_the_other_axis_alone(magnitude) -> None:
    fast = torch.cos(2 * math.pi * 12 * torch.arange(32, dtype=torch.float64) / 32)
    rows, columns = fast[:, None].expand(32, 32)[None], fast.expand(32, 32)[None]
    assert_close(zero_fill(2 + rows + columns, 4, magnitude, column_factor=1), 2 + columns)
    assert_close(zero_fill(2 + rows + columns, 1, magnitude, column_factor=4), 2 + rows)


def test_projection_stays_on_the_device_of_the_image() -> None:
    """On PyTorch's device ``meta``, which refuses tensors of another."""
    assert project(torch.empty(1, 8, 9, device="meta"), 2).device.type == "meta"


@pytest.mark.parametrize("restore", [restore_measured, restore_measured_magnitude])
def test_restoring_keeps_to_the_block_of_each_axis(restore) -> None:
    # 5 of 20 rows, an odd block, and an image so bright that its magnitude is itself: nothing is lost to the sign
    truth, output = 9 + random_image(20, 30, 1), 9 + random_image(20, 30, 2)
    low_res = zero_fill(truth, 4, column_factor=1)
    restored = restore(output, low_res, 4, column_factor=1)
    assert_close(project(restored, 4, 1), low_res)
    assert_close(project(restored - output, 4, 1), restored - output)


@pytest.mark.parametrize("restore", [restore_measured, restore_measured_magnitude])
def test_a_fully_measured_image_is_restored_whole(restore) -> None:
    truth = random_image(20, 21, 1)
    assert_close(restore(random_image(20, 21, 2), truth, 1), truth)


@pytest.mark.parametrize(("given", "pair"), [(4, (4, 4)), (1.5, (1.5, 1.5)), ([4, 2], (4, 2)), ((1, 2), (1, 2))])
def test_in_plane_factors_are_one_for_both_axes_or_one_for_each(given, pair) -> None:
    assert in_plane_factors(given) == pair


@pytest.mark.parametrize("given", [1, 0.5, "4", True, None, math.nan, math.inf, [4], [2, 2, 2], [1, 1], ["4", 2], {}])
def test_in_plane_factors_refuse_what_is_none(given) -> None:
    with pytest.raises(ValueError, match="give a number above 1"):
        in_plane_factors(given)


def test_levels_of_anisotropic_factors_share_the_way_on_each_axis() -> None:
    assert level_factors([4, 1], 2) == [[2, 1]]


def wave(size: int, cycles: float, place: float = 0.0, step: float = 1.0) -> torch.Tensor:
    """A cosine of some cycles over an axis, sampled from ``place`` on in steps, both in units of the axis' samples."""
    position = place + step * torch.arange(size, dtype=torch.float64)
    return torch.cos(2 * math.pi * cycles * position)


@pytest.mark.parametrize(
    ("before", "after"), [((12, 15), (48, 60)), ((13, 12), (40, 33)), ((15, 14), (15, 29)), ((8, 9), (9, 10))]
)
def test_zero_pad_samples_band_limited_waves_more_finely_from_the_same_first_sample(before, after) -> None:
    def picture(shape: tuple[int, int]) -> torch.Tensor:
        rows, columns = (wave(n, cycles, 0.07, 1 / n) for n, cycles in zip(shape, (2, 3), strict=True))
        return 2 + rows[:, None] * columns

    assert_close(zero_pad(picture(before), *after), picture(after))


def test_zero_pad_leaves_a_known_shift_known() -> None:
    """Sample k of 16 lies at 3 k on 48; a linear phase of half a sample is a shift by 1.5 there."""
    still, moved = wave(16, 2, 0, 1 / 16), wave(16, 2, -0.5 / 16, 1 / 16)
    enlarged = zero_pad(torch.stack([still, moved])[:, None], 1, 48)
    assert_close(enlarged[0, 0, ::3], still)
    assert_close(enlarged[1, 0], wave(48, 2, -1.5 / 48, 1 / 48))


def cropped(image: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Crop k-space: the other way of the scanner. The unpaired row of an even block gets both partners' samples."""
    for axis, size in ((-2, rows), (-1, columns)):
        n_samples = image.shape[axis]
        if size == n_samples:
            continue
        spectrum = torch.fft.rfft(image, dim=axis, norm="forward").narrow(axis, 0, size // 2 + 1).clone()
        if size % 2 == 0:
            spectrum.narrow(axis, size // 2, 1).mul_(2)
        image = torch.fft.irfft(spectrum, size, dim=axis, norm="forward")
    return image


@given(height=sizes, width=sizes, more=st.tuples(st.integers(0, 20), st.integers(0, 20)))
@settings(deadline=None)
def test_zero_pad_is_undone_by_cropping_k_space_and_keeps_the_mean(height, width, more) -> None:
    image = random_image(height, width)
    padded = zero_pad(image, height + more[0], width + more[1])
    assert_close(cropped(padded, height, width), image)
    assert_close(padded.mean((-2, -1)), image.mean((-2, -1)))


@pytest.mark.parametrize("shape", [(9, 12), (10, 11)])
def test_zero_pad_equals_its_definition_in_centred_k_space(shape) -> None:
    image = random_image(*shape)[0, 0].numpy()
    k_space = np.fft.fftshift(np.fft.fft2(image)) / image.size
    for axis, size in enumerate(shape):
        if size % 2 == 0:  # half of the unpaired row to its missing partner
            k_space = np.moveaxis(k_space, axis, 0)
            half = k_space[0] / 2
            k_space = np.moveaxis(np.concatenate([half[None], k_space[1:], half[None]]), 0, axis)
    new = (30, 33)
    padded = np.zeros(new, dtype=complex)
    starts = [n // 2 - size // 2 for n, size in zip(new, shape, strict=True)]
    padded[starts[0] : starts[0] + k_space.shape[0], starts[1] : starts[1] + k_space.shape[1]] = k_space
    expected = np.fft.ifft2(np.fft.ifftshift(padded)) * padded.size
    assert np.abs(expected.imag).max() < 1e-12
    np.testing.assert_allclose(zero_pad(torch.from_numpy(image), *new).numpy(), expected.real, atol=1e-12)


def test_zero_pad_refuses_a_smaller_matrix() -> None:
    with pytest.raises(ValueError, match="give a larger matrix"):
        zero_pad(random_image(20, 20), 20, 19)
