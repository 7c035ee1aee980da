# SPDX-License-Identifier: Apache-2.0
"""What a generator is, how it was trained, and the record of both as JSON beside its weights: every setting, once."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from bundle.errors import InputError
from bundle.files import json_content
from bundle.pseudonyms import hidden

Factor = float | list[float]  # full to measured k-space samples: of both in-plane axes, or of rows and of columns
PathLike = str | os.PathLike[str]
Settings = TypeVar("Settings", "ModelSettings", "Recipe")

STRUCTURE: Final = (
    "architecture",
    "fusion",
    "levels",
    "share_levels",
    "residual",
    "width",
)  # of weights to go on from others
IMAGES: Final = ("factor", "magnitude", "normalise")  # what a network's images share with those that trained it
PAPER_WEIGHTS: Final = {"adversarial": 1.0, "mse": 0.1, "perceptual": 1.0, "texture": 0.1}  # of Eq. 7, Section III-B
_WEIGHT: Final = "_weight"


@dataclass(frozen=True)
class ModelSettings:
    """What a generator is (Table I, Fig. 1) and which low-res images it is for."""

    architecture: str = "Generator"  # the paper's; or FastGenerator, SingleContrastResidual, ZengCascade
    size: dict[str, Any] = field(default_factory=dict)  # what another architecture has of its own: n_features ...
    fusion: str = "feature"  # how the reference comes in: feature SR4, image SR3, none SR1, reference SR2
    levels: int = 1  # networks in sequence: 1, or 2 and 3 of a progressive generator
    share_levels: bool = False  # the levels have their weights in common
    residual: bool = False  # the output is added to the low-res image
    bias: bool = False  # of convolutions
    width: float = 1.0  # filters relative to the paper's, of a baseline to its own
    consistency_layer: bool = False  # the measured block of k-space is put back after each level
    degradation: str = (
        "zero_filled"  # by the factor, as the paper's; or scanner: any of bundle.acquisition.ScannerFamily
    )
    factor: Factor = 4  # with scanner, of the images to validate on
    magnitude: bool = True  # the low-res image is the magnitude of the zero-filled one, or else its real part
    normalise: str = "volume"  # intensities to [0, 1] per volume or per slice

    @property
    def any_factor(self) -> bool:
        """Whether low-res images of all factors are what it was trained for, and ``factor`` is one to score it on."""
        return self.degradation == "scanner"

    @property
    def needs_reference(self) -> bool:
        """Whether it was trained with a reference always; else zeros may stand in its place."""
        return not (self.any_factor or self.fusion == "none" or self.architecture == "SingleContrastResidual")


@dataclass(frozen=True)
class Recipe:
    """How a generator is trained: what its weights depend on besides the data and the number of updates."""

    noise: float = 0.0  # of noise-free simulations, Rician, relative to the maximum
    bias_field: float = 0.0  # amplitude of a simulated receive field
    level_factors: list[Any] = field(default_factory=list)  # of targets of levels before the last (Eqs. 9-11), if any
    tissue_only: bool = True  # train on slices with tissue
    patch_size: int = 64  # rows and columns
    batch_size: int = 32  # patches of an update, of all processes together
    patch_sampling: str = "grid"  # the paper's, or random
    gain_jitter: float = 0.0  # random factor exp(+-gain_jitter) on low-res and high-res against the reference
    flips: bool = False  # mirror images and quarter turns
    reference_shift: int = 0  # random, in pixels
    noise_jitter: float = 0.0  # white noise on low-res and reference, of a random standard deviation up to this
    slices_per_volume: int | None = None  # of those that train, evenly spaced; None for all
    learning_rate: float = 2.0e-5  # of the generator's Adam
    critic_learning_rate: float = 2.0e-5
    max_gradient_norm: float | None = None  # None: no clipping
    trained_part: str | None = None  # of the network, such as error_scale; None: all of it
    weight_average: float = 0.0  # decay of the moving average of the weights that is kept; 0: the weights themselves
    mixed_precision: str | bool = "auto"  # bfloat16
    critic_width: float = 1.0  # filters of the critic, relative to the paper's
    n_critic: int = 4  # critic updates before each generator update
    fidelity_iterations: int = 0  # generator updates by the MSE alone at the start
    # Of the terms of Eq. 7, by their names in bundle.losses.GeneratorLoss; in JSON each is <name>_weight.
    loss_weights: dict[str, float] = field(default_factory=lambda: dict(PAPER_WEIGHTS))
    gram_norm: str = "pixels"  # what a Gram matrix is divided by
    penalty_weight: float = 10.0  # of the gradient penalty (Eq. 8)
    seed: int = 0

    @property
    def needs_features(self) -> bool:
        """Whether a loss looks at VGG16 features."""
        return bool(self.loss_weights.keys() & {"perceptual", "texture"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss_weights", {name: w for name, w in self.loss_weights.items() if w})  # switched on


@dataclass(frozen=True)
class TrainingRecord:
    """What is kept beside weights, as JSON with all settings side by side under their own names."""

    model: ModelSettings = field(default_factory=ModelSettings)
    recipe: Recipe = field(default_factory=Recipe)
    reference_contrast: str | None = None  # that trained it; None where unknown, or where it takes no reference
    initial_weights: str | None = None  # checksum of the weights that it went on from, if any
    train_cases: list[str] = field(default_factory=list)  # hidden; names in records of before 0.8.0
    weights_sha256: str | None = None  # checksum of the weights it lies beside; None of those before 0.8.0
    seen: dict[str, Any] = field(default_factory=dict)  # see bundle.trust.seen_in_training; empty where unknown
    interval: dict[str, Any] = field(default_factory=dict)  # see bundle.tools.calibrating; empty where nobody did
    about: dict[str, Any] = field(default_factory=dict)  # all else: iterations, epochs, data, licence, scores ...

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the record that JSON tells; what it leaves out, as older versions do, is at its default."""
        left = dict(content)
        if weights := {key: left.pop(key) for key in list(left) if key.endswith(_WEIGHT) and key != "penalty_weight"}:
            left["loss_weights"] = {key.removesuffix(_WEIGHT): weight for key, weight in weights.items()}
        model, recipe = _taken(ModelSettings, left), _taken(Recipe, left)
        own = {f.name: value for f in dataclasses.fields(cls)[2:-1] if (value := left.pop(f.name, None)) is not None}
        return cls(model, recipe, **own, about=left)

    def to_json(self) -> dict[str, Any]:
        """Return all settings side by side, and the rest, as JSON values."""
        parts = dataclasses.asdict(self)
        about = parts.pop("about")
        weights = {f"{name}{_WEIGHT}": weight for name, weight in parts["recipe"].pop("loss_weights").items()}
        flat = {**parts.pop("model"), **parts.pop("recipe"), **weights, **parts, **about}
        return dict(json.loads(json.dumps(flat)))

    def differences(self, other: "TrainingRecord") -> dict[str, tuple[Any, Any]]:
        """Return own and other value of each setting in which two trainings differ; not what was measured of data."""
        own, others = (record.to_json() for record in (self, other))
        if own["train_cases"] != others["train_cases"]:  # one of which may tell names
            own["train_cases"], others["train_cases"] = hidden(self.train_cases), hidden(other.train_cases)
        left_out = {"seen", "interval", "weights_sha256", *self.about, *other.about}
        keys = [key for key in own | others if key not in left_out]
        return {key: (own.get(key), others.get(key)) for key in keys if own.get(key) != others.get(key)}


def place_of(name: str, config: Mapping[str, Any]) -> str | None:
    """Return where a config holds a setting given by its own name: ``model::factor``, ``recipe::loss_weights::mse`` ...

    ``None`` for a key of the config itself, and for what is no setting.
    """
    for block, kind in BLOCKS.items():
        if block not in config or name in config:
            continue
        if name in setting_names(kind):
            return f"{block}::{name}"
        if name.endswith(_WEIGHT) and "loss_weights" in config[block]:
            return f"{block}::loss_weights::{name.removesuffix(_WEIGHT)}"
    return None


def setting_names(kind: type[ModelSettings] | type[Recipe]) -> list[str]:
    """Return the names of some settings."""
    return [f.name for f in dataclasses.fields(kind)]


def differing(recorded: ModelSettings, given: ModelSettings, names: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """Return the recorded and the given value of each of some settings in which two models differ."""
    pairs = {name: (getattr(recorded, name), getattr(given, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def recorded_model(path: PathLike | None, **given: Any) -> ModelSettings:
    """Return the settings of weights by their training record, those that are given in their place.

    :class:`bundle.engines.GeneratorLoader` refuses weights that were trained with others. A method without weights has
    ``None`` for their file. An ``InputError`` names a setting that there is not.
    """
    known = setting_names(ModelSettings)
    if unknown := sorted(given.keys() - set(known)):
        raise InputError(f"model has no setting {', '.join(unknown)}; it has {', '.join(known)}.")
    return dataclasses.replace(recorded(path).model, **given)


def recorded(path: PathLike | None) -> TrainingRecord:
    """Return the training record of weights; all defaults where there is none or it is damaged."""
    return _readable_record(path) or TrainingRecord()


def read_record(path: PathLike | None) -> TrainingRecord | None:
    """Return the training record beside weights; ``None`` where there is none, ``InputError`` where it is damaged."""
    if path is None or not (file := record_path(path)).is_file():
        return None
    try:
        return TrainingRecord.from_json(json_content(file))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: this training record is damaged; restore it, or move it away.") from error


def record_path(weights: PathLike) -> Path:
    """Return where the training record of a file of weights is."""
    return Path(weights).expanduser().with_suffix(".json")


def factor_of(stated: Factor | None, model: ModelSettings) -> Factor | None:
    """Return the factor of images: as stated, or that of the weights; ``None`` where they are for any."""
    return stated if stated is not None else None if model.any_factor else model.factor


def cases_seen(cases: Iterable[str], initial_weights: PathLike | None) -> list[str]:
    """Return, hidden, the cases that weights have seen after training: these, and those of what it starts from."""
    return hidden([*cases, *recorded(initial_weights).train_cases])


BLOCKS: Final = {"model": ModelSettings, "recipe": Recipe}  # parts of a config that hold settings


def _readable_record(path: PathLike | None) -> TrainingRecord | None:
    """Return a training record; ``None`` where there is none or it is damaged."""
    with contextlib.suppress(InputError):
        return read_record(path)
    return None


def _taken(kind: type[Settings], content: dict[str, Any]) -> Settings:
    """Take out of JSON what some settings hold."""
    return kind(**{name: content.pop(name) for name in setting_names(kind) if name in content})
