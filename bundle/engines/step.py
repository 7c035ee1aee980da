# SPDX-License-Identifier: Apache-2.0
"""One training iteration: critic updates on fresh batches, then one generator update (Section III-B)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from bundle.data.patches import PatchStream
from bundle.engines.precision import MixedPrecision, autocast, channels_last
from bundle.errors import InputError
from bundle.keys import HIGH_RES, IMAGE, LEVEL_TARGETS, ZERO_FILLED_BY
from bundle.losses import GeneratorLoss, gradient_penalty, wasserstein_distance
from bundle.parallel import data_parallel, mean_of_processes, part_of_batch

Batch = dict[str, Tensor]
Generate = Callable[[Batch], Tensor]
FIDELITY: Final = GeneratorLoss(adversarial=0, mse=1, perceptual=0, texture=0)


class WeightAverage(AveragedModel):
    """Keep the exponential moving average of a network's weights over its updates.

    After n updates the average moves by 1 - min(decay, (1 + n) / (10 + n)) towards the weights, so that the start is
    soon forgotten, as TensorFlow's ``ExponentialMovingAverage`` does with ``num_updates``. A ``decay``, above 0 and
    below 1, of 0.999 averages over about the last thousand updates.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise InputError(f"weight_average is {decay}; give 0 for none, or a number below 1 such as 0.999.")

        def mix(averages: Sequence[Tensor], weights: Sequence[Tensor], n_updates: Tensor | int) -> None:
            n = int(n_updates)
            torch._foreach_lerp_(list(averages), list(weights), 1 - min(decay, (1 + n) / (10 + n)))

        super().__init__(network, multi_avg_fn=mix)
        channels_last(self.module)
        self._trained = (network,)  # in a tuple, or it would count as a part of the average

    @property
    def network(self) -> nn.Module:
        """Return the network that holds the average."""
        return self.module

    def update(self) -> None:
        """Move the average towards the weights."""
        self.update_parameters(*self._trained)


@dataclass
class GeneratorUpdate:
    """Improve the generator by one step on one batch (Eq. 7), on the device of its parameters.

    A batch with targets for the levels before the last makes it the constrained objective of Eqs. 9-11. The paper
    does not clip gradients: ``max_gradient_norm`` is ``None``. The ``average`` follows every step. With a
    ``trained_part``, a module of the network, all else of it stays as it is.
    """

    network: nn.Module
    optimizer: Optimizer
    loss: GeneratorLoss
    inferer: Inferer
    mixed_precision: MixedPrecision = "auto"
    max_gradient_norm: float | None = None
    average: WeightAverage | None = None
    trained_part: str | None = None

    def __post_init__(self) -> None:
        channels_last(self.network)
        self.device = next(self.network.parameters()).device
        if self.loss.laplace and getattr(self.network, "error_scale", None) is None:
            raise InputError(
                "a laplace loss needs a network that predicts its errors; give one, such as "
                "--architecture FastGenerator --size \"{'error_features': 32}\"."
            )
        if self.trained_part is not None:
            part = getattr(self.network, self.trained_part, None)
            if part is None:
                raise InputError(f"trained_part is {self.trained_part}, and the network has none; see its size.")
            self.network.requires_grad_(False)
            part.requires_grad_(True)
        self._levels = data_parallel(_Levels(self.network))

    def generate(self, batch: Batch) -> Tensor:
        """Return super-res patches (N, 1, P, P) for the ``image`` (N, 2, P, P) of a batch."""
        return self.inferer(_moved(batch[IMAGE], self.device), self.network, **self._known(batch))

    def _known(self, batch: Batch) -> Batch:
        """Return what a network with known factors is told of a batch."""
        told = ZERO_FILLED_BY in batch and getattr(self.network, "known_factors", None) is not None
        return {ZERO_FILLED_BY: batch[ZERO_FILLED_BY]} if told else {}

    def __call__(self, batch: Batch, loss: GeneratorLoss, critic: nn.Module | None) -> dict[str, Tensor]:
        """Take one optimizer step by ``loss``; return its value and its terms."""
        high_res = batch[HIGH_RES].to(self.device, non_blocking=True)
        self.network.train()
        with autocast(self.device, self.mixed_precision):
            targets = [high_res]
            if LEVEL_TARGETS in batch:
                targets = [*batch[LEVEL_TARGETS].to(self.device, non_blocking=True).split(1, dim=1), high_res]
            images, every, scaled = _moved(batch[IMAGE], self.device), len(targets) > 1, bool(loss.laplace)
            known = self._known(batch)
            outputs, error_scale = self.inferer(images, self._levels, every=every, scaled=scaled, **known)
            objective, terms = loss(outputs, targets, critic, error_scale)
        _step(objective, self.network, self.optimizer, self.max_gradient_norm)
        if self.average is not None:
            self.average.update()
        return {"loss": objective.detach(), **terms}


@dataclass
class CriticUpdate:
    """Improve the critic by several steps, each on a fresh batch of a stream of its own (Eq. 8).

    It scores images (N, 1, P, P). The weight of the gradient penalty, always in float32, is lambda4; the ``seed`` is
    that of the mixing weights.
    """

    critic: nn.Module
    optimizer: Optimizer
    batches: PatchStream
    n_updates: int = 4
    penalty_weight: float = 10.0
    mixed_precision: MixedPrecision = "auto"
    max_gradient_norm: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_updates < 1:
            raise InputError(f"n_updates is {self.n_updates}; the critic needs at least 1 update an iteration.")
        channels_last(self.critic)
        self.device = next(self.critic.parameters()).device
        self._scores = data_parallel(self.critic)
        # a generator of its own, so that nothing else that draws numbers can change the training
        self.random = torch.Generator().manual_seed(self.seed)

    def __call__(self, generate: Generate) -> dict[str, Tensor]:
        """Take ``n_updates`` optimizer steps; return the mean of each term over them."""
        self.critic.requires_grad_(True)
        updates = [self._update(generate) for _ in range(self.n_updates)]
        self.critic.requires_grad_(False)
        return {name: torch.stack([terms[name] for terms in updates]).mean() for name in updates[0]}

    def _update(self, generate: Generate) -> dict[str, Tensor]:
        """Take one step on the stream's next batch."""
        batch = self.batches.next_batch()
        real = _moved(batch[HIGH_RES], self.device)
        n_samples = len(real) * idist.get_world_size()
        alpha = torch.rand(n_samples, generator=self.random)[part_of_batch(n_samples)]
        alpha = alpha.to(self.device, non_blocking=True)
        with autocast(self.device, self.mixed_precision):
            with torch.no_grad():
                fake = generate(batch).float()
            fake_scores, real_scores = self._scores(torch.cat((fake, real))).float().chunk(2)
        penalty = gradient_penalty(self._scores, real, fake, alpha)
        objective = fake_scores.mean() - real_scores.mean() + self.penalty_weight * penalty
        _step(objective, self.critic, self.optimizer, self.max_gradient_norm)
        scores = mean_of_processes({"real": real_scores.mean(), "fake": fake_scores.mean()})
        return {
            "critic": objective.detach(),
            "gradient_penalty": penalty.detach(),
            "wasserstein_distance": wasserstein_distance(scores["real"].detach(), scores["fake"].detach()),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the critic's stream and of its random numbers."""
        return {"batches": self.batches.state_dict(), "random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.batches.load_state_dict(state["batches"])
        self.random.set_state(state["random"])


@dataclass
class TrainingStep:
    """Run one iteration; pass it to an engine as ``iteration_update``.

    The first ``fidelity_iterations`` minimise the MSE alone, without the critic. The paper has none; a schedule for
    few iterations needs a start worth criticising. Nor is the critic used where its loss has weight 0.
    """

    generator: GeneratorUpdate
    critic: CriticUpdate
    fidelity_iterations: int = 0

    def __call__(self, engine: Engine, batch: Batch) -> dict[str, float]:
        """Update critic and generator; return ``loss``, each active term before weighting, and the critic's terms.

        The engine's ``state.iteration``, from 1, decides the phase. The generator's batch is ``image`` (N, 2, P, P),
        ``high_res`` (N, 1, P, P) and, where all levels are supervised, ``level_targets`` (N, n_levels - 1, P, P).
        """
        if engine.state.iteration == self.fidelity_iterations + 1:
            # Adam's moments describe gradients of another objective, orders of magnitude away
            self.generator.optimizer.state.clear()
        loss = self.generator.loss if engine.state.iteration > self.fidelity_iterations else FIDELITY
        critic_terms = self.critic(self.generator.generate) if loss.adversarial else {}
        terms = self.generator(batch, loss, self.critic.critic if loss.adversarial else None) | critic_terms
        return {name: float(value) for name, value in mean_of_processes(terms).items()}


class _Levels(nn.Module):
    """A generator whose outputs, of ``every`` level or the last, ``forward`` returns: it is what averages gradients.

    Beside them it returns the scale of errors where it is asked for.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, image: Tensor, every: bool, scaled: bool, **known: Tensor) -> tuple[list[Tensor], Tensor | None]:
        if scaled:
            output, scale = self.network.with_error_scale(image, **known)
            return [output], scale
        return self.network.forward_levels(image, **known) if every else [self.network(image, **known)], None


def _moved(images: Tensor, device: torch.device) -> Tensor:
    """Return images (N, C, H, W) on a device, laid out as convolutions read them fastest."""
    return images.to(device, non_blocking=True, memory_format=torch.channels_last)


def _step(objective: Tensor, network: nn.Module, optimizer: Optimizer, max_norm: float | None) -> None:
    """Back-propagate, clip where asked, and update."""
    optimizer.zero_grad(set_to_none=True)
    objective.backward()
    if max_norm is not None:
        clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()
