# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.testing import assert_close

from bundle.errors import InputError
from bundle.losses import (
    GeneratorLoss,
    generator_loss,
    gradient_penalty,
    gram_matrix,
    laplace_score,
    perceptual_loss,
    texture_loss,
    wasserstein_distance,
)


def features(image: torch.Tensor) -> list[torch.Tensor]:
    """Two feature maps that depend on the image, in place of VGG16's."""
    return [torch.cat((image, 2 * image), dim=1), image[..., ::2, ::2]]


def patches(seed: int = 0, n: int = 3) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_gradient_penalty_of_a_linear_critic_of_norm_10_is_81() -> None:
    weight = torch.randn(64, generator=torch.Generator().manual_seed(0))
    weight = 10 * weight / weight.norm()
    penalty = gradient_penalty(lambda x: x.flatten(1) @ weight, patches(1), patches(2), torch.rand(3))
    assert_close(penalty, torch.tensor(81.0))


def test_gradient_penalty_of_a_critic_of_norm_1_is_0() -> None:
    penalty = gradient_penalty(lambda x: x.flatten(1).sum(1) / 8, patches(1), patches(2), torch.rand(3))
    assert_close(penalty, torch.tensor(0.0))


def test_gradient_penalty_is_two_sided_a_critic_of_norm_a_half_pays_a_quarter() -> None:
    penalty = gradient_penalty(lambda x: x.flatten(1).sum(1) / 16, patches(1), patches(2), torch.rand(3))
    assert_close(penalty, torch.tensor(0.25))


def test_gradient_penalty_is_taken_at_the_mix_of_each_sample() -> None:
    # D(x) = |x|^2 / 2 has the gradient x, so the penalty names the mix itself
    real, fake, alpha = patches(1), patches(2), torch.tensor([0.0, 0.25, 1.0])
    mix = alpha.view(-1, 1, 1, 1) * real + (1 - alpha).view(-1, 1, 1, 1) * fake
    expected = ((mix.flatten(1).norm(dim=1) - 1) ** 2).mean()
    assert_close(gradient_penalty(lambda x: x.square().flatten(1).sum(1) / 2, real, fake, alpha), expected)


def test_gradient_penalty_reaches_the_critic_and_not_the_generator() -> None:
    weight = torch.ones(64, requires_grad=True)
    fake = patches(2).requires_grad_()
    gradient_penalty(lambda x: x.flatten(1).square() @ weight, patches(1), fake, torch.rand(3)).backward()
    assert weight.grad is not None
    assert fake.grad is None


def test_gradient_penalty_is_float32_inside_mixed_precision() -> None:
    critic = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 1))
    alpha = torch.rand(3)
    expected = gradient_penalty(critic, patches(1), patches(2), alpha)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(gradient_penalty(critic, patches(1), patches(2), alpha), expected)


def test_wasserstein_distance_is_the_difference_of_mean_scores() -> None:
    assert_close(wasserstein_distance(torch.tensor([1.0, 3.0]), torch.tensor([7.0, 5.0])), torch.tensor(4.0))


def test_gram_matrix_of_constant_channels_is_their_product_whatever_the_size() -> None:
    constants = torch.tensor([1.0, 2.0, 3.0])
    for size in (4, 9):
        maps = constants.view(1, 3, 1, 1).expand(1, 3, size, size)
        assert_close(gram_matrix(maps)[0], torch.outer(constants, constants))
        assert_close(gram_matrix(maps, "elements")[0], torch.outer(constants, constants) / 3)
        assert_close(gram_matrix(maps, "none")[0], torch.outer(constants, constants) * size * size)


def test_gram_matrix_ignores_where_pixels_are() -> None:
    maps = torch.rand(2, 5, 6, 7)
    shuffled = maps.flatten(2)[..., torch.randperm(42)].unflatten(2, (6, 7))
    assert_close(gram_matrix(maps), gram_matrix(shuffled))


def test_gram_matrix_refuses_an_unknown_norm() -> None:
    with pytest.raises(ValueError, match="pixels, elements, none"):
        gram_matrix(torch.rand(1, 2, 3, 3), "pixel")


def test_perceptual_loss_averages_the_mse_of_the_layers() -> None:
    target = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 2, 2)]
    prediction = [torch.full((1, 2, 4, 4), 2.0), torch.full((1, 8, 2, 2), 4.0)]
    assert_close(perceptual_loss(prediction, target), torch.tensor((4.0 + 16.0) / 2))


def test_texture_loss_averages_the_mse_of_gram_matrices() -> None:
    target = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 2, 2)]
    prediction = [torch.full((1, 2, 4, 4), 2.0), torch.full((1, 3, 2, 2), 3.0)]
    assert_close(texture_loss(prediction, target), torch.tensor((16.0 + 81.0) / 2))


def test_texture_loss_divides_the_gram_matrices_as_its_norm_says() -> None:
    prediction, target = [torch.full((1, 2, 4, 4), 2.0)], [torch.ones(1, 2, 4, 4)]
    for norm, divisor in (("pixels", 1), ("elements", 2), ("none", 1 / 16)):
        assert_close(texture_loss(prediction, target, norm), torch.tensor((3 / divisor) ** 2))


@pytest.mark.parametrize("loss", [perceptual_loss, texture_loss])
def test_feature_losses_refuse_a_layer_without_its_partner(loss) -> None:
    layer = torch.rand(1, 2, 4, 4)
    with pytest.raises(ValueError, match="shorter"):
        loss([layer, layer], [layer])


def test_generator_loss_weighs_its_terms_as_equation_7() -> None:
    def critic(image):
        return image.flatten(1).mean(1)

    loss = GeneratorLoss(features=features)
    objective, terms = loss([patches(1)], [patches(2)], critic)
    assert_close(terms["adversarial"], -patches(1).mean())
    assert_close(terms["mse"], (patches(1) - patches(2)).square().mean())
    assert_close(terms["perceptual"], perceptual_loss(features(patches(1)), features(patches(2))))
    assert_close(terms["texture"], texture_loss(features(patches(1)), features(patches(2))))
    expected = terms["adversarial"] + 0.1 * terms["mse"] + terms["perceptual"] + 0.1 * terms["texture"]
    assert_close(objective, expected)


def test_generator_loss_sums_fidelity_over_levels_and_shows_the_critic_the_last_as_equations_9_to_11() -> None:
    loss = GeneratorLoss(features=features)
    outputs, targets = [patches(1), patches(2)], [patches(3), patches(4)]
    objective, terms = loss(outputs, targets, lambda image: image.flatten(1).mean(1))
    levels = [loss([output], [target])[1] for output, target in zip(outputs, targets, strict=True)]
    for name in ("mse", "perceptual", "texture"):
        assert_close(terms[name], levels[0][name] + levels[1][name])
    assert_close(terms["adversarial"], -patches(2).mean())
    assert_close(objective, sum(weight * terms[name] for name, weight in loss.weights.items() if weight))


@pytest.mark.parametrize("name", ["perceptual", "texture"])
def test_generator_loss_takes_one_feature_term_alone(name) -> None:
    loss = GeneratorLoss(**{"adversarial": 0, "mse": 0, "perceptual": 0, "texture": 0, name: 3}, features=features)
    objective, terms = loss([patches(1)], [patches(2)])
    assert list(terms) == [name]
    assert_close(objective, 3 * terms[name])


def test_generator_loss_takes_the_texture_with_the_norm_it_was_given() -> None:
    terms = GeneratorLoss(gram_norm="none", features=features)([patches(1)], [patches(2)])[1]
    assert_close(terms["texture"], texture_loss(features(patches(1)), features(patches(2)), "none"))


def test_generator_loss_refuses_outputs_without_a_target() -> None:
    with pytest.raises(ValueError, match="shorter"):
        GeneratorLoss(features=features)([patches(1), patches(2)], [patches(3)])


def test_generator_loss_l1_is_the_mean_absolute_error() -> None:
    loss = GeneratorLoss(adversarial=0, mse=0, perceptual=0, texture=0, l1=3)
    objective, terms = loss([patches(1)], [patches(2)])
    assert_close(terms["l1"], (patches(1) - patches(2)).abs().mean())
    assert_close(objective, 3 * terms["l1"])


def test_generator_loss_charbonnier_is_the_absolute_error_above_its_rounding_and_smooth_at_0() -> None:
    loss = GeneratorLoss(adversarial=0, mse=0, perceptual=0, texture=0, charbonnier=3)
    target = torch.full((3, 1, 2, 2), 2.0**-12)  # so small that adding to it rounds nothing away
    output = (target + torch.tensor([0.0, 1e-3, 0.5]).view(3, 1, 1, 1)).requires_grad_()
    objective, terms = loss([output], [target])
    assert_close(terms["charbonnier"], torch.tensor((1e-3 + 2**0.5 * 1e-3 + 0.500001) / 3))
    objective.backward()
    assert_close(output.grad[:, 0, 0, 0], torch.tensor([0, 2**-0.5, 1]) * 3 / 12, rtol=1e-5, atol=1e-7)


def test_generator_loss_of_equal_images_is_its_adversarial_term() -> None:
    objective, terms = GeneratorLoss(features=features)([patches()], [patches()], lambda x: x.flatten(1).mean(1))
    assert_close(objective, terms["adversarial"])


def test_generator_loss_leaves_out_terms_of_weight_0() -> None:
    def fail(_):
        raise AssertionError("a term of weight 0 was computed")

    loss = GeneratorLoss(adversarial=0, mse=2, perceptual=0, texture=0, features=fail)
    objective, terms = loss([patches(1)], [patches(2)], fail)
    assert list(terms) == ["mse"]
    assert_close(objective, 2 * terms["mse"])


def test_generator_loss_gradient_of_mse_is_analytic() -> None:
    super_res = patches(1).requires_grad_()
    objective, _ = GeneratorLoss(adversarial=0, mse=1, perceptual=0, texture=0)([super_res], [patches(2)])
    objective.backward()
    assert_close(super_res.grad, 2 * (patches(1) - patches(2)) / super_res.numel())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mse": -1}, "weight of the mse loss is -1"),
        ({"adversarial": 0, "mse": 0, "perceptual": 0, "texture": 0}, "all generator losses"),
        ({"texture": 0}, "need features"),
        ({"perceptual": float("nan")}, "weight of the perceptual loss is nan"),
    ],
)
def test_generator_loss_refuses_weights_that_make_no_objective(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        GeneratorLoss(**arguments)


def test_generator_loss_of_some_terms_leaves_out_all_others() -> None:
    assert generator_loss({"mse": 2}) == GeneratorLoss(adversarial=0, mse=2, perceptual=0, texture=0)
    assert generator_loss({"l1": 3, "adversarial": 0.5}).weights == {
        **dict.fromkeys(("mse", "charbonnier", "laplace", "perceptual", "texture"), 0.0),
        **{"l1": 3, "adversarial": 0.5},
    }


def test_generator_loss_of_some_terms_passes_norm_and_features_on() -> None:
    loss = generator_loss({"texture": 1}, "none", features)
    assert (loss.gram_norm, loss.features) == ("none", features)
    with pytest.raises(InputError, match="need features"):
        generator_loss({"texture": 1})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"mse": 1, "ssim": 1}, "there is no ssim loss; loss_weights takes adversarial, mse, l1, charbonnier, laplace"),
        ({}, "all generator losses"),
        ({"mse": -1}, "weight of the mse loss is -1"),
    ],
)
def test_generator_loss_refuses_terms_that_make_no_objective(weights, message) -> None:
    with pytest.raises(InputError, match=message):
        generator_loss(weights)


def test_laplace_score_is_lowest_at_the_mean_size_of_laplace_errors() -> None:
    errors = torch.distributions.Laplace(0.0, 0.05).sample((1, 1, 300, 300))
    tried = torch.tensor([0.04, 0.045, 0.05, 0.055, 0.06])
    scores = [float(laplace_score(errors, torch.zeros_like(errors), torch.full_like(errors, float(s)))) for s in tried]
    assert min(scores) == scores[2] == pytest.approx(float(torch.tensor(0.0501).log()) + 1, abs=0.02)


def test_generator_loss_of_errors_alone_does_not_reach_the_image() -> None:
    loss, scale = generator_loss({"laplace": 1}), torch.full((3, 1, 8, 8), 0.2, requires_grad=True)
    output = patches(1).requires_grad_()
    objective, terms = loss([output], [patches(2)], error_scale=scale)
    objective.backward()
    assert output.grad is None
    assert scale.grad.abs().min() > 0
    assert_close(terms["laplace"], laplace_score(patches(1), patches(2), scale.detach()))
