# SPDX-License-Identifier: Apache-2.0
import contextlib
import dataclasses
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from monai.inferers import SimpleInferer
from torch import nn

from bundle.engines import (
    CriticUpdate,
    GeneratorUpdate,
    TrainingStep,
    WeightAverage,
    autocast,
    supports_bfloat16,
    use_machine,
)
from bundle.errors import InputError
from bundle.keys import HIGH_RES, IMAGE, LEVEL_TARGETS, ZERO_FILLED_BY
from bundle.losses import generator_loss
from bundle.networks import FastGenerator


class Batches:
    """A stream that counts, each batch with its own values."""

    def __init__(self) -> None:
        self.position = 0

    def next_batch(self) -> dict[str, torch.Tensor]:
        self.position += 1
        random = torch.Generator().manual_seed(self.position)
        return {IMAGE: torch.rand(4, 2, 8, 8, generator=random), HIGH_RES: torch.rand(4, 1, 8, 8, generator=random)}


def step(fidelity_iterations: int = 0, n_updates: int = 4, **weights: float) -> TrainingStep:
    torch.manual_seed(0)
    generator = nn.Conv2d(2, 1, 3, padding=1)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1), nn.Flatten(0))
    loss = generator_loss({"adversarial": 1, "mse": 0.1, **weights})
    return TrainingStep(
        GeneratorUpdate(generator, torch.optim.Adam(generator.parameters(), 1e-2), loss, SimpleInferer(), False),
        CriticUpdate(critic, torch.optim.Adam(critic.parameters(), 1e-2), Batches(), n_updates, mixed_precision=False),
        fidelity_iterations,
    )


def engine(iteration: int = 1) -> Engine:
    return SimpleNamespace(state=SimpleNamespace(iteration=iteration))


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


def test_an_iteration_updates_the_critic_on_fresh_batches_and_then_the_generator_once() -> None:
    training = step(n_updates=4)
    generator, critic = training.generator.network, training.critic.critic
    before = weights(generator), weights(critic)
    terms = training(engine(), Batches().next_batch())
    assert training.critic.batches.position == 4
    assert not torch.equal(weights(generator), before[0])
    assert not torch.equal(weights(critic), before[1])
    assert set(terms) == {"loss", "adversarial", "mse", "critic", "gradient_penalty", "wasserstein_distance"}
    assert all(isinstance(value, float) for value in terms.values())


def test_the_generator_s_update_leaves_the_critic_alone() -> None:
    training = step()
    critic = training.critic.critic
    training.critic(training.generator.generate)
    before, gradients = weights(critic), [p.grad.clone() for p in critic.parameters()]
    training.generator(Batches().next_batch(), training.generator.loss, critic)
    assert torch.equal(weights(critic), before)
    assert all(torch.equal(p.grad, g) for p, g in zip(critic.parameters(), gradients, strict=True))


def test_the_critic_s_updates_leave_the_generator_alone() -> None:
    training = step()
    before = weights(training.generator.network)
    training.critic(training.generator.generate)
    assert torch.equal(weights(training.generator.network), before)
    assert all(p.grad is None for p in training.generator.network.parameters())


def test_critic_learns_to_tell_real_from_fake() -> None:
    training = step(n_updates=60)

    class Distinct(Batches):
        def next_batch(self):
            batch = super().next_batch()
            return {IMAGE: batch[IMAGE], HIGH_RES: batch[HIGH_RES] + 2}

    training.critic.batches = Distinct()
    batch = Distinct().next_batch()
    training.critic(training.generator.generate)
    with torch.no_grad():
        real = training.critic.critic(batch[HIGH_RES]).mean()
        fake = training.critic.critic(training.generator.generate(batch)).mean()
    assert real > fake + 1


def test_fidelity_phase_minimises_the_mse_alone() -> None:
    training = step(fidelity_iterations=3)
    before = weights(training.critic.critic)
    for iteration in (1, 2, 3):
        assert set(training(engine(iteration), Batches().next_batch())) == {"loss", "mse"}
    assert torch.equal(weights(training.critic.critic), before)
    assert training.critic.batches.position == 0
    assert "adversarial" in training(engine(4), Batches().next_batch())


@pytest.mark.parametrize("mixed_precision", [True, False])
def test_an_iteration_runs_in_either_precision_and_leaves_float32_weights(mixed_precision) -> None:
    training = step()
    training.generator.mixed_precision = training.critic.mixed_precision = mixed_precision
    terms = training(engine(), Batches().next_batch())
    networks = (training.generator.network, training.critic.critic)
    assert all(
        p.dtype == p.grad.dtype == torch.float32
        for network in networks
        for p in network.parameters()
        if p.requires_grad
    )
    assert all(value == value for value in terms.values())


def test_the_moments_of_the_fidelity_phase_do_not_scale_the_first_adversarial_step() -> None:
    training = step(fidelity_iterations=1)
    training(engine(1), Batches().next_batch())
    training(engine(2), Batches().next_batch())
    states = training.generator.optimizer.state.values()
    assert {int(state["step"]) for state in states} == {1}


def test_training_without_adversary_never_runs_the_critic() -> None:
    training = step(adversarial=0, mse=1)
    losses = [training(engine(i), Batches().next_batch())["loss"] for i in range(1, 60)]
    assert training.critic.batches.position == 0
    assert losses[-1] < 0.5 * losses[0]


def test_level_targets_in_the_batch_supervise_every_level() -> None:
    """PRO-C: the errors of the levels before the last count as much as the last one's (Eq. 9)."""

    class ThreeLevels(nn.Conv2d):
        def forward_levels(self, image):
            first = self(image)
            return [first, first + image[:, :1], first + image[:, 1:]]

    training = step(adversarial=0, mse=1)
    network = ThreeLevels(2, 1, 3, padding=1)
    optimizer = torch.optim.SGD(network.parameters(), 0.0)
    training.generator = dataclasses.replace(training.generator, network=network, optimizer=optimizer)
    batch = Batches().next_batch()
    batch[LEVEL_TARGETS] = torch.rand(4, 2, 8, 8)
    targets = [batch[LEVEL_TARGETS][:, :1], batch[LEVEL_TARGETS][:, 1:], batch[HIGH_RES]]
    levels = zip(network.forward_levels(batch[IMAGE]), targets, strict=True)
    expected = sum((output - target).square().mean() for output, target in levels)
    assert training(engine(), batch)["mse"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_average_follows_every_update_of_the_generator() -> None:
    training = step(adversarial=0)
    training.generator.average = WeightAverage(training.generator.network, decay=0.5)
    average = torch.empty(0)
    for position in range(3):
        training(engine(position + 1), Batches().next_batch())
        followed = weights(training.generator.network)
        # the first update is copied; then decays of 2/11 and 3/12, until they reach the given
        average = followed if not position else torch.lerp(average, followed, 1 - (1 + position) / (10 + position))
        assert torch.allclose(weights(training.generator.average.network), average)


def test_gradients_are_clipped_on_request_only() -> None:
    free, clipped = step(mse=1e6, adversarial=0), step(mse=1e6, adversarial=0)
    clipped.generator.max_gradient_norm = 1.0
    for training in (free, clipped):
        training(engine(), Batches().next_batch())
    norms = [torch.cat([p.grad.flatten() for p in t.generator.network.parameters()]).norm() for t in (free, clipped)]
    assert norms[0] > 10
    assert norms[1] <= 1.001


def test_a_critic_s_gradients_are_clipped_on_request() -> None:
    training = step(n_updates=1)
    critic = training.critic.critic
    training.critic.optimizer = torch.optim.SGD(critic.parameters(), 1.0)
    training.critic.penalty_weight, training.critic.max_gradient_norm = 1e6, 0.5
    before = weights(critic)
    training.critic(training.generator.generate)
    assert (weights(critic) - before).norm().item() == pytest.approx(0.5, rel=1e-3)


def test_a_critic_s_terms_are_means_over_its_updates() -> None:
    training = step(n_updates=1)
    training.critic.optimizer = torch.optim.SGD(training.critic.critic.parameters(), 0.0)
    single = [training.critic(training.generator.generate)["critic"] for _ in range(3)]
    training.critic.batches.position = 0
    training.critic.random.manual_seed(0)
    training.critic.n_updates = 3
    found = training.critic(training.generator.generate)["critic"]
    torch.testing.assert_close(found, torch.stack(single).mean())


def test_mixing_weights_follow_the_critic_s_own_seed_alone() -> None:
    penalties = []
    for seed, others in ((0, 1), (0, 2), (1, 2)):
        training = step(n_updates=1)
        training.critic = dataclasses.replace(training.critic, seed=seed)
        torch.manual_seed(others)
        penalties.append(training.critic(training.generator.generate)["gradient_penalty"].item())
    assert penalties[0] == penalties[1] != penalties[2]


@pytest.mark.parametrize(("mixed_precision", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_both_networks_run_in_the_precision_asked_for_and_the_penalty_in_float32(mixed_precision, dtype) -> None:
    training = step(n_updates=1)
    found = {"generator": [], "critic": []}
    for name, update in (("generator", training.generator), ("critic", training.critic)):
        update.mixed_precision = mixed_precision
        first = next(
            module
            for module in getattr(update, "network", training.critic.critic).modules()
            if not [*module.children()]
        )
        first.register_forward_hook(lambda _, __, output, seen=found[name]: seen.append(output.dtype))
    training(engine(), Batches().next_batch())
    assert found == {"generator": [dtype] * 2, "critic": [dtype, torch.float32, dtype]}


def test_batches_go_to_the_device_of_the_networks(monkeypatch) -> None:
    """On PyTorch's device ``meta``, which refuses tensors of another; it has no autocast."""
    monkeypatch.setattr(f"{TrainingStep.__module__}.autocast", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(
        f"{TrainingStep.__module__}.gradient_penalty",
        lambda critic, real, fake, alpha: (alpha.view(-1, 1, 1, 1) * critic(real - fake)).mean(),
    )

    class TwoLevels(nn.Conv2d):
        def forward_levels(self, image):
            return [self(image), image[:, :1]]

    training = step(adversarial=0, mse=1)
    network, critic = TwoLevels(2, 1, 3, padding=1, device="meta"), nn.Conv2d(1, 1, 3, device="meta")
    generator = dataclasses.replace(
        training.generator, network=network, optimizer=torch.optim.SGD(network.parameters(), 0.1)
    )
    optimizer = torch.optim.SGD(critic.parameters(), 0.1)
    critic_terms = dataclasses.replace(training.critic, critic=critic, optimizer=optimizer)(generator.generate)
    batch = Batches().next_batch() | {LEVEL_TARGETS: torch.rand(4, 1, 8, 8)}
    terms = generator(batch, generator.loss, None)
    assert {term.device.type for term in (*terms.values(), *critic_terms.values())} == {"meta"}


def test_a_restored_critic_goes_on_with_its_batches_and_the_same_mixing_weights() -> None:
    first, second = step(), step()
    for training in (first, second):
        batches = training.critic.batches
        batches.state_dict = lambda batches=batches: {"position": batches.position}
        batches.load_state_dict = lambda state, batches=batches: vars(batches).update(state)
    first.critic(first.generator.generate)
    second.critic.load_state_dict(first.critic.state_dict())
    assert second.critic.batches.position == 4
    assert torch.equal(*(torch.rand(3, generator=training.critic.random) for training in (first, second)))


def test_a_critic_s_update_descends_equation_8_with_a_penalty_of_weight_10() -> None:
    """A linear critic w has the objective w (mean fake - mean real) + 10 (|w| - 1)^2, whose gradient is known."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 1, bias=False), nn.Flatten(0))
    weight = critic[1].weight.data.copy_(torch.linspace(-1, 1, 64)[None]).clone()[0]
    update = CriticUpdate(critic, torch.optim.SGD(critic.parameters(), 1e-3), Batches(), 1, mixed_precision=False)
    terms = update(lambda batch: batch[IMAGE][:, :1])
    batch = Batches().next_batch()
    difference = (batch[IMAGE][:, :1] - batch[HIGH_RES]).flatten(1).mean(0)
    norm = weight.norm()
    torch.testing.assert_close(terms["critic"], weight @ difference + 10 * (norm - 1) ** 2)
    torch.testing.assert_close(terms["gradient_penalty"], (norm - 1) ** 2)
    torch.testing.assert_close(terms["wasserstein_distance"], (weight @ difference).abs())
    gradient = difference + 10 * 2 * (norm - 1) * weight / norm
    torch.testing.assert_close(weights(critic), weight - 1e-3 * gradient)


@pytest.mark.parametrize("value", ["yes", None, 2])
def test_mixed_precision_is_auto_true_or_false(value) -> None:
    with pytest.raises(ValueError, match="choose auto, true or false"):
        autocast(torch.device("cpu"), value)


def part_update(network: FastGenerator, part: str, loss: dict[str, float]) -> GeneratorUpdate:
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    return GeneratorUpdate(network, optimizer, generator_loss(loss), SimpleInferer(), False, trained_part=part)


def test_error_scale_alone_is_trained_where_asked_and_leaves_the_image_as_it_is() -> None:
    torch.manual_seed(0)
    network, batch = FastGenerator(n_features=4, n_blocks=1, error_features=4), Batches().next_batch()
    before, scale = network(batch[IMAGE]), weights(network.error_scale)
    update = part_update(network, "error_scale", {"laplace": 1})
    scores = [float(update(batch, update.loss, None)["laplace"]) for _ in range(20)]
    assert scores[-1] < scores[0] - 0.1
    assert torch.equal(network(batch[IMAGE]), before)
    assert not torch.equal(weights(network.error_scale), scale)


def test_known_factors_are_trained_on_what_is_known_and_leave_the_blind_network_as_it_is() -> None:
    torch.manual_seed(0)
    network, batch = FastGenerator(n_features=4, n_blocks=1, known_factors=[2, 3]), Batches().next_batch()
    update = part_update(network, "known_factors", {"l1": 1})
    before, factors = network(batch[IMAGE]), torch.full((len(batch[IMAGE]),), 2.0)
    scores = [float(update(batch | {ZERO_FILLED_BY: factors}, update.loss, None)["l1"]) for _ in range(20)]
    assert scores[-1] < 0.9 * scores[0]
    assert torch.equal(network(batch[IMAGE]), before)
    assert not torch.equal(network(batch[IMAGE], factors), before)
    assert all(difference[1].count_nonzero() == 0 for difference in network.known_factors.differences)  # of factor 3


def test_part_that_a_network_lacks_cannot_be_trained_alone() -> None:
    with pytest.raises(InputError, match="trained_part is known_factors"):
        part_update(FastGenerator(n_features=4, n_blocks=1), "known_factors", {"l1": 1})


def test_a_loss_of_errors_needs_a_network_that_predicts_them() -> None:
    network = FastGenerator(n_features=4, n_blocks=1)
    with pytest.raises(InputError, match=r"--size .*error_features"):
        GeneratorUpdate(
            network, torch.optim.Adam(network.parameters()), generator_loss({"laplace": 1}), SimpleInferer()
        )


def test_auto_precision_is_bfloat16_where_the_hardware_has_it() -> None:
    layer = nn.Linear(2, 2)
    expected = torch.bfloat16 if supports_bfloat16(torch.device("cpu")) else torch.float32
    for choice, dtype in (("auto", expected), (True, torch.bfloat16), (False, torch.float32)):
        with autocast(torch.device("cpu"), choice):
            assert layer(torch.rand(1, 2)).dtype == dtype


def test_critic_refuses_to_be_skipped() -> None:
    with pytest.raises(ValueError, match="at least 1 update"):
        step(n_updates=0)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(device) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=f"--device {device} cannot be used here; .* have: cpu"):
        use_machine(device)


def test_the_cpu_is_always_there() -> None:
    use_machine("cpu")
