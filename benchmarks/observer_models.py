# SPDX-License-Identifier: Apache-2.0
"""What an observer makes of images: signals that are drawn, channels, linear templates, and the area under the curve.

An observer decides between two alternatives by one number, the product of an image and a template. A matched filter's
template is the difference of both signals as drawn; a channelised Hotelling observer learns its own from what a few
channels see of examples (Barrett & Myers, Foundations of Image Science, 2004, chapters 13 and 14).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import eval_genlaguerre

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int_]

FWHM: Final = float(np.sqrt(8 * np.log(2)))  # of a Gaussian, in standard deviations
RIDGE: Final = 0.001  # added to the variance of each channel, of itself


def turned(
    shape: Sequence[int], centre: Sequence[float], angle: float, spacing: Sequence[float]
) -> tuple[Array, Array]:
    """Return how far pixels lie from a centre along a direction and across it, two arrays (rows, columns) in mm.

    Args:
        shape: rows and columns.
        centre: in pixels, anywhere between them.
        angle: of the direction, in rad from that of rising rows towards that of rising columns.
        spacing: mm between rows and between columns.
    """
    rows, columns = ((np.arange(n) - c) * s for n, c, s in zip(shape, centre, spacing, strict=True))
    cosine, sine = np.cos(angle), np.sin(angle)
    return rows[:, None] * cosine + columns * sine, columns * cosine - rows[:, None] * sine


def point_pair(along: Array, across: Array, separation: float, width: float) -> Array:
    """Return two Gaussian points of height 1 and a full width at half maximum, side by side, on places in mm."""
    deviation = width / FWHM
    pair = sum(np.exp(-0.5 * ((along - side * separation / 2) / deviation) ** 2) for side in (-1, 1))
    return np.asarray(pair * np.exp(-0.5 * (across / deviation) ** 2))


def long_point(along: Array, across: Array, separation: float, width: float) -> Array:
    """Return one Gaussian point of the same sum and the same first and second moments as a pair of points.

    The variance of a pair along its direction is that of a point plus separation^2 / 4. Only moments of the fourth
    order tell both apart, so that blur hides the difference and brightness or size do not give it away: Rayleigh's
    task (Hanson & Myers in Maximum Entropy and Bayesian Methods, Kluwer 1991, with a line that has sharp ends).
    """
    deviation = width / FWHM
    length = np.hypot(deviation, separation / 2)
    height = 2 * deviation / length
    return np.asarray(height * np.exp(-0.5 * (along / length) ** 2 - 0.5 * (across / deviation) ** 2))


def line_pairs(along: Array, across: Array, period: float, phase: float, width: float) -> Array:
    """Return lines of a sine profile between 0 and 1, under a round Gaussian of a full width at half maximum, in mm.

    Their direction is ``across``. A period of infinity and a phase of pi / 2 is the same spot without lines.
    """
    envelope = np.exp(-0.5 * (along**2 + across**2) / (width / FWHM) ** 2)
    return np.asarray(envelope * (0.5 + 0.5 * np.cos(2 * np.pi * along / period + phase)))


def laguerre_gauss(along: Array, across: Array, width: float, n_radial: int, orders: Sequence[int] = (0,)) -> Array:
    """Return Laguerre-Gauss channels, Array (n_radial * len(orders), rows, columns), each of norm 1.

    With x = 2 pi r^2 / width^2 they are x^(l/2) L_p^l(x) exp(-x / 2) cos(l angle) for degrees p from 0 and the angular
    orders l. Those of order 0 are the usual round ones (Gallas & Barrett, J. Opt. Soc. Am. A 20, 2003); even orders see
    what lies along a direction.
    """
    x = 2 * np.pi * (along**2 + across**2) / width**2
    angle = np.arctan2(across, along)
    channels = [
        x ** (order / 2) * eval_genlaguerre(degree, order, x) * np.exp(-x / 2) * np.cos(order * angle)
        for order in orders
        for degree in range(n_radial)
    ]
    return _unit(np.stack(channels))


def stripe_channels(along: Array, across: Array, periods: Sequence[float], phase: float, width: float) -> Array:
    """Return channels (1 + len(periods), rows, columns) that see lines of known phase, and their mean, of norm 1."""
    flat = line_pairs(along, across, np.inf, np.pi / 2, width)
    return _unit(np.stack([flat, *(flat * np.cos(2 * np.pi * along / period + phase) for period in periods)]))


def hotelling_template(first: Array, second: Array) -> Array:
    """Return the template (channels,) S^-1 (mean of first - mean of second) of examples (n, channels).

    S is the mean covariance of both, its variances a little enlarged, so that it can be inverted.
    """
    covariance = (np.cov(first, rowvar=False) + np.cov(second, rowvar=False)) / 2
    covariance[np.diag_indices_from(covariance)] *= 1 + RIDGE
    return np.asarray(np.linalg.solve(covariance, first.mean(0) - second.mean(0)))


def fitted_scores(train: tuple[Array, Array], *others: Array) -> list[Array]:
    """Learn a template from examples of both kinds, and return its scores of other examples (n, channels).

    Scores are shifted and scaled by those of the examples: 0 lies between both kinds, and 1 is a deviation, so that
    scores by templates of several folds can be put together.
    """
    template = hotelling_template(*train)
    first, second = (kind @ template for kind in train)
    middle = (first.mean() + second.mean()) / 2
    deviation = np.sqrt((first.var() + second.var()) / 2)
    return [(other @ template - middle) / deviation for other in others]


def cross_fitted_scores(train: tuple[Array, Array], folds: Indices, strata: Indices, *others: Array) -> list[Array]:
    """Return scores of examples (n, channels), each by a template that has seen no example of its own fold.

    The mean of both kinds in each stratum, a patient, is taken off first: of what all images of a patient have in
    common no template has to learn that it means nothing.

    Args:
        train: examples of both kinds, example i of each in fold ``folds[i]`` and stratum ``strata[i]``.
        folds: (n,).
        strata: (n,).
        others: what to score, likewise; may be those of ``train``.
    """
    means = np.empty_like(train[0])
    for stratum in np.unique(strata):
        own = strata == stratum
        means[own] = (train[0][own].mean(0) + train[1][own].mean(0)) / 2
    train, others = (train[0] - means, train[1] - means), tuple(other - means for other in others)
    scores = [np.empty(len(folds)) for _ in others]
    for fold in np.unique(folds):
        own = folds == fold
        found = fitted_scores((train[0][~own], train[1][~own]), *(other[own] for other in others))
        for score, part in zip(scores, found, strict=True):
            score[own] = part
    return scores


def area_under_curve(first: Array, second: Array, strata: Indices, counts: Indices | None = None) -> Array:
    """Return the share of pairs in which the first kind has the higher score, ties counted as one half.

    Args:
        first: scores (n,).
        second: scores (n,) at the same places.
        strata: (n,), patients; pairs are of one patient.
        counts: (draws, n), how often each place counts; ``None`` for once.

    Returns:
        Array (draws,), of one draw without ``counts``.
    """
    weights = np.ones((1, len(first))) if counts is None else counts.astype(np.float64)
    pairs = strata[:, None] == strata
    higher = ((first[:, None] > second) + 0.5 * (first[:, None] == second)) * pairs
    return np.asarray(((weights @ higher) * weights).sum(1) / ((weights @ pairs) * weights).sum(1))


def bootstrap_counts(strata: Indices, draws: int, seed: int) -> Indices:
    """Return how often each place (n,) counts in each draw (draws, n): drawn again within its stratum, a patient."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((draws, len(strata)), dtype=np.int_)
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        counts[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=draws)
    return counts


def interval(values: Array) -> tuple[float, float]:
    """Return the bounds of the middle 95 % of bootstrap draws, some of which may be infinite."""
    low, high = np.quantile(values, (0.025, 0.975), method="nearest")
    return float(low), float(high)


def crossing(sizes: Sequence[float], areas: Array, level: float) -> Array:
    """Return from which size on the area stays at a level, by linear interpolation, Array (draws,).

    Args:
        sizes: (n,), rising.
        areas: (draws, n).
        level: of the area.

    Returns:
        The smallest size where all areas reach the level, infinity where the last does not.
    """
    places, below = np.asarray(sizes, dtype=np.float64), areas < level
    last = below.shape[1] - 1 - below[:, ::-1].argmax(1)  # the last size below the level, where there is one
    following = np.minimum(last + 1, below.shape[1] - 1)
    draws = np.arange(len(areas))
    start, stop = areas[draws, last], areas[draws, following]
    share = (level - start) / np.where(stop > start, stop - start, 1)
    found = places[last] + share * (places[following] - places[last])
    found = np.where(below[:, -1], np.inf, found)
    return np.where(below.any(1), found, places[0])


def _unit(channels: Array) -> Array:
    return np.asarray(channels / np.linalg.norm(channels, axis=(1, 2), keepdims=True))
