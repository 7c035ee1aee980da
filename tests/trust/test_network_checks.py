# SPDX-License-Identifier: Apache-2.0
import functools
import json
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import nn
from torch.testing import assert_close

from bundle.acquisition import AxisEstimate, Consistency
from bundle.case import Case, LowResFinding
from bundle.engines import TiledSliceInferer
from bundle.errors import InputError
from bundle.keys import CASE, IMAGE, LOW_RES, PRED, SHOWN_UNCERTAINTY, UNCERTAINTY
from bundle.kspace import zero_fill
from bundle.networks import Generator
from bundle.settings import TrainingRecord
from bundle.trust import NetworkChecksd, ensemble, predictive_spread
from bundle.trust import network_checks as module
from bundle.trust.spread import PASSES


class AddsReference(nn.Module):
    """Add part of the reference to the low-res, and count the slices that were asked for."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))
        self.n_slices = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.n_slices += len(image)
        return image[:, :1] + self.share * image[:, 1:]


def known(sizes: tuple[int, int], measured: tuple[int, int]) -> LowResFinding:
    """Return what is known of slices of which so many samples of k-space were measured."""
    rows, columns = (AxisEstimate(n, n / kept) for n, kept in zip(sizes, measured, strict=True))
    shape = [*sizes, 4]
    return LowResFinding("zero-filled", 2, shape, shape, [1.0] * 3, [1.0] * 3, (rows, columns))


CONSISTENCY = Consistency(AxisEstimate(24, 2), AxisEstimate(20, 2))


def checks(network: nn.Module, **settings: Any) -> NetworkChecksd:
    return NetworkChecksd(TiledSliceInferer(mixed_precision=False), network, **settings)


def run(network: nn.Module, n_slices: int = 50, **settings: Any) -> tuple[dict[Any, Any], Case]:
    """Put a case through the network and the checks, as inference does."""
    generator = torch.Generator().manual_seed(0)
    volumes = 0.2 + 0.8 * torch.rand(2, 24, 20, n_slices, generator=generator)
    volumes[0] = zero_fill(volumes[0].movedim(-1, 0), 2).movedim(0, -1)
    affine = torch.diag(torch.tensor([1.0, 1, 3, 1], dtype=torch.float64))
    image = MetaTensor(volumes, affine)
    inferer = TiledSliceInferer(mixed_precision=False)
    item = {
        CASE: Case("c", low_res=known((24, 20), (12, 10))),
        IMAGE: image,
        LOW_RES: image[:1],
        PRED: MetaTensor(inferer(volumes[None], network)[0], affine),
    }
    checked = checks(network, **settings)(item)
    return checked, checked[CASE]


def test_output_stays_the_plain_pass_whatever_is_asked_for() -> None:
    expected = run(AddsReference())[0][PRED].as_tensor()
    item, _ = run(AddsReference(), uncertainty=True, members=[AddsReference(2.0)])
    assert_close(item[PRED].as_tensor(), expected)
    assert_close(expected, item[IMAGE].as_tensor()[:1] + 0.5 * item[IMAGE].as_tensor()[1:])


def test_few_slices_are_asked_about_in_a_tenth_of_the_passes() -> None:
    network = AddsReference()
    item, case = run(network, n_slices=130)
    assert network.n_slices - 130 <= 13
    assert list(item[SHOWN_UNCERTAINTY]) == [32, 65, 97]
    assert UNCERTAINTY not in item
    assert case.measured["uncertainty"]["slices"] == [32, 65, 97]
    assert case.measured["influence"]["slice"] == 65


def test_passes_for_the_influence_count_too() -> None:
    network = AddsReference()
    item, _ = run(network, n_slices=100)
    assert len(item[SHOWN_UNCERTAINTY]) == 2
    assert network.n_slices - 100 == 2 * (len(PASSES) - 1) + 2


def test_a_short_volume_is_asked_about_one_slice() -> None:
    network = AddsReference()
    item, _ = run(network, n_slices=20)
    assert list(item[SHOWN_UNCERTAINTY]) == [10]
    assert network.n_slices == 20 + len(PASSES) - 1 + 2


def test_map_of_the_volume_holds_what_the_shown_slices_say() -> None:
    shown = run(AddsReference(), n_slices=130)[0][SHOWN_UNCERTAINTY]
    item, case = run(AddsReference(), n_slices=130, uncertainty=True)
    assert item[UNCERTAINTY].shape == (1, 24, 20, 130)
    assert SHOWN_UNCERTAINTY not in item
    for position, spread in shown.items():
        assert_close(item[UNCERTAINTY].as_tensor()[0, ..., position], spread)
    assert case.measured["uncertainty"]["whole"] is True


def test_spread_is_that_after_data_consistency() -> None:
    own, consistent = (run(AddsReference(), consistent=c)[0] for c in (False, True))
    (position,) = consistent[SHOWN_UNCERTAINTY]
    image = own[IMAGE].as_tensor()[..., position][None]
    for item, finish in (
        (own, torch.Tensor.float),
        (consistent, lambda x: CONSISTENCY.restored(x, image[:, :1])),
    ):
        _, expected = predictive_spread(image, [AddsReference()], finish)
        assert_close(item[SHOWN_UNCERTAINTY][position], expected[0, 0].detach(), atol=1e-6, rtol=1e-4)


def test_a_network_that_returns_the_low_res_does_not_disagree_and_has_no_influence() -> None:
    found = run(AddsReference(0.0))[1].measured
    assert found["data_consistency"]["disagreement"] == pytest.approx(0, abs=1e-6)
    assert (found["influence"]["removed"], found["influence"]["mirrored"]) == (0, 0)
    assert found["uncertainty"]["typical"] == pytest.approx(0, abs=1e-6)


def test_without_a_reference_nobody_asks_for_its_influence() -> None:
    item, _ = run(AddsReference())
    item[IMAGE][1] = 0
    item[CASE].measured.clear()
    found = checks(AddsReference())(item)[CASE].measured
    assert list(found) == ["data_consistency", "uncertainty"]


def test_disagreement_grows_with_what_is_added_to_the_measured_block() -> None:
    shares = [run(AddsReference(s))[1].measured["data_consistency"]["disagreement"] for s in (0.1, 0.2)]
    assert shares[1] == pytest.approx(2 * shares[0], rel=1e-3)


def test_what_was_measured_of_this_volume_counts() -> None:
    item, _ = run(AddsReference())
    item[CASE].low_res = known((24, 20), (24, 20))  # all of it: the output must be the low-res
    out = checks(AddsReference())(item)
    assert max(s.max() for s in out[SHOWN_UNCERTAINTY].values()) < 1e-6


def test_facts_can_be_written_as_json() -> None:
    found = run(AddsReference())[1].facts()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"low_res", "data_consistency", "influence", "uncertainty"}


def test_case_beyond_what_was_tried_gets_a_warning_and_others_none(monkeypatch) -> None:
    assert run(AddsReference(0.01))[1].warnings == []
    monkeypatch.setattr(module, "LARGEST_INFLUENCE", 0.5)
    monkeypatch.setattr(module, "LARGEST_DISAGREEMENT", 0.05)
    warnings = run(AddsReference())[1].warnings
    assert ["disagrees with the measured" in w or "reference decides" in w for w in warnings] == [True, True]


def test_a_member_of_the_ensemble_raises_the_spread_and_is_not_taken_for_the_network() -> None:
    alone = run(AddsReference())
    network, member = AddsReference(), AddsReference(2.0)
    both = run(network, n_slices=130, members=[member])
    for position, spread in both[0][SHOWN_UNCERTAINTY].items():
        image = both[0][IMAGE].as_tensor()[..., position][None]
        finish = functools.partial(CONSISTENCY.restored, low_res=image[:, :1])
        expected = predictive_spread(image, [network, member], finish)[1][0, 0]
        assert_close(spread, expected.detach(), atol=1e-6, rtol=1e-4)
    both = run(network, members=[member])
    assert both[1].measured["uncertainty"]["typical"] > alone[1].measured["uncertainty"]["typical"]
    assert both[1].measured["influence"] == alone[1].measured["influence"]


def test_an_empty_volume_is_passed_over() -> None:
    empty = MetaTensor(torch.zeros(2, 20, 20, 3))
    case = Case("c", low_res=known((20, 20), (10, 10)))
    item = {CASE: case, IMAGE: empty, LOW_RES: empty[:1], PRED: empty[:1].clone()}
    out = checks(AddsReference())(item)
    assert UNCERTAINTY not in out
    assert SHOWN_UNCERTAINTY not in out


def test_ensemble_loads_weights_into_networks_of_their_own(tmp_path) -> None:
    trained = Generator()
    torch.save(trained.state_dict(), tmp_path / "other.pt")
    (tmp_path / "other.json").write_text(json.dumps({"factor": 4}))
    network = Generator()
    (member,) = ensemble([tmp_path / "other.pt"], network, TrainingRecord())
    assert member is not network
    assert all(torch.equal(a, b) for a, b in zip(member.parameters(), trained.parameters(), strict=True))
    assert ensemble([], network, TrainingRecord()) == []


def test_ensemble_refuses_weights_for_something_else(tmp_path) -> None:
    torch.save(Generator().state_dict(), tmp_path / "other.pt")
    (tmp_path / "other.json").write_text(json.dumps({"factor": 2}))
    with pytest.raises(InputError, match="trained with factor 2, not 4"):
        ensemble([tmp_path / "other.pt"], Generator(), TrainingRecord())
    with pytest.raises(InputError, match="no weights here"):
        ensemble([tmp_path / "none.pt"], Generator(), TrainingRecord())
