# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest

from bundle.data import SliceStack, find_pairs
from bundle.engines import TrainingCheckpoint
from bundle.errors import InputError
from bundle.settings import ModelSettings, TrainingRecord
from bundle.transforms import LoadPaird, NormaliseIntensityd, SlicesLastd, ZeroFilld
from bundle.trust import seen_in_training
from bundle.trust.profile import LEVELS, Profile, profile
from bundle.trust.training_profile import distance_from_training, summarise


def steps(*more):
    from monai.transforms import Compose

    return Compose([LoadPaird(), SlicesLastd(), NormaliseIntensityd(), ZeroFilld(2), *more])


def volume(level: float, **changes) -> Profile:
    made = Profile((0.5, 0.6), 3.0, (10, 12), [level] * len(LEVELS), 1.0, 0.01, [1.0] * len(LEVELS), -1.0, 0.02, 0.9)
    return dataclasses.replace(made, **changes)


def test_summary_holds_the_range_of_every_number() -> None:
    seen = summarise([volume(1), volume(1, spacing=(0.4, 0.9), target_fluid=2.0, target_noise=None)])
    assert seen["n_volumes"] == 2
    assert seen["spacing"] == [0.4, 0.9]
    assert seen["target_fluid"] == [1, 2]
    assert seen["target_noise"] == [0.01, 0.01]
    assert json.loads(json.dumps(seen)) == seen


def test_limit_is_the_largest_distance_of_a_volume_from_the_nearest_other() -> None:
    seen = summarise([volume(1.0), volume(1.2), volume(1.7)])
    assert seen["target_histogram"]["volumes"] == [[value] * len(LEVELS) for value in (1.0, 1.2, 1.7)]
    assert seen["target_histogram"]["limit"] == pytest.approx(1.7 - 1.2)
    assert seen["reference_histogram"]["limit"] == 0


def test_what_lies_between_two_kinds_of_volumes_is_far_from_training() -> None:
    seen = summarise([volume(1.0), volume(1.1), volume(2.0), volume(2.1)])["target_histogram"]
    assert seen["limit"] == pytest.approx(0.1)
    assert distance_from_training([1.5] * len(LEVELS), seen) == pytest.approx(0.4)
    assert distance_from_training([2.05] * len(LEVELS), seen) == pytest.approx(0.05)
    before = {"mean": [1.55] * len(LEVELS), "limit": 0.9}  # as in records of weights from before 0.6.0
    assert distance_from_training([2.05] * len(LEVELS), before) == pytest.approx(0.5)


def test_two_volumes_tell_nothing_about_a_third() -> None:
    assert summarise([volume(1.0), volume(1.2)])["target_histogram"]["limit"] is None


def test_without_references_or_volumes_there_is_nothing_to_compare_with() -> None:
    seen = summarise([volume(1, reference_histogram=None, reference_noise=None)])
    assert seen["reference_histogram"] is seen["reference_noise"] is None
    assert summarise([])["spacing"] is None


def test_histogram_distance_is_the_wasserstein_distance_of_shifted_values() -> None:
    assert distance_from_training([1, 2, 3], {"volumes": [[1.5, 2.5, 3.5]]}) == pytest.approx(0.5)


def test_what_training_saw_is_what_its_volumes_are(small_dataset) -> None:
    pairs = find_pairs(small_dataset)
    seen = seen_in_training(SliceStack(pairs, steps()))
    items = [steps()(pair) for pair in pairs]
    found = [profile(i["low_res"][0].numpy(), i["reference"][0].numpy(), i["image"].pixdim.tolist()) for i in items]
    direct = summarise([p for p in found if p])
    assert seen["n_volumes"] == 4
    assert seen["spacing"] == pytest.approx([0.9, 0.9], abs=1e-5)
    assert seen["slice_distance"] == pytest.approx([3, 3], abs=1e-5)
    assert seen["target_fluid"] == pytest.approx(direct["target_fluid"], abs=0.02)  # the stack is float16
    for found_one, direct_one in zip(
        seen["target_histogram"]["volumes"], direct["target_histogram"]["volumes"], strict=True
    ):
        assert found_one == pytest.approx(direct_one, abs=0.01)


def test_a_checkpoint_from_before_is_resumed_whatever_the_data_look_like(tmp_path) -> None:
    from types import SimpleNamespace

    from torch import nn

    def saver(factor, seen=None):
        record = TrainingRecord(ModelSettings(factor=factor), seen=seen or {})
        return TrainingCheckpoint(tmp_path / "c.pt", tmp_path / "m.pt", nn.Linear(2, 2), {}, record)

    def engine():
        state = SimpleNamespace(iteration=3, epoch=1, epoch_length=3, max_epochs=5)
        return SimpleNamespace(state=state, should_terminate=False)

    saver(factor=4).save(engine())
    saver(factor=4, seen={"spacing": [1, 2]}).restore(engine())
    saver(factor=4, seen={"spacing": [1, 2]}).save(engine())
    saver(factor=4, seen={"spacing": [1, 2.0001]}).restore(engine())
    assert json.loads((tmp_path / "m.json").read_text())["seen"] == {"spacing": [1, 2]}
    with pytest.raises(InputError, match="factor 4 -> 2"):
        saver(factor=2, seen={"spacing": [1, 2]}).restore(engine())
