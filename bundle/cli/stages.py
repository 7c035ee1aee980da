# SPDX-License-Identifier: Apache-2.0
"""The stages of the bundle as commands: their options, each of which sets one key of the stage's config."""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bundle.cli.enhance import add_enhance_options, enhance_keys
from bundle.cli.model_choice import named_weights
from bundle.cli.options import CONTRAST, DEVICE, OUTPUT, add_switch, count, existing, factor, path
from bundle.config_files import nearest
from bundle.errors import InputError

# What options set that is no key of a config, but the command line's own.
OWN: Final = frozenset(
    {"command", "input", "model", "json", "all", "configs", "settings", "show_config", "log", "quiet", "verbose"}
)
Options = dict[str, Any]  # values of the options that were given, by the config key they set or their own name


@dataclass(frozen=True)
class Stage:
    """One stage of the bundle as a command: options set keys of ``config``, or ``OWN`` ones that ``keys`` reads."""

    run_id: str
    config: str
    summary: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    keys: Callable[[Options, Path], Options]


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add what every stage understands."""
    group = parser.add_argument_group("settings")
    free = "set any key of the config, in YAML's words; may be repeated. --KEY VALUE does the same"
    group.add_argument("--set", dest="settings", action="append", metavar="KEY=VALUE", help=free)
    laid = "lay a YAML file over the config, or one of configs/variants or configs/baselines by its name"
    group.add_argument("--config", dest="configs", action="append", metavar="FILE", help=f"{laid}; may be repeated")
    shown = "print the same run as a command line of MONAI and the keys it sets, and do nothing"
    group.add_argument("--show-config", action="store_true", help=shown)
    group = parser.add_argument_group("messages")
    group.add_argument("--log", type=path, metavar="FILE", help="add all messages, with date and time, to a file")
    group.add_argument("-q", "--quiet", action="store_true", help="show warnings and errors only, no progress")
    group.add_argument("-v", "--verbose", action="store_true", help="show more, and where an error came from")


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = "folder with BIDS-like or IXI names, or a CSV or JSON list of pairs; default: a simulated phantom"
    parser.add_argument("dataset_dir", nargs="?", default=None, type=existing, metavar="DATA", help=data)
    parser.add_argument("--reference-contrast", **CONTRAST, help="default: auto, whichever has more pairs")


def _add_splits(parser: argparse.ArgumentParser) -> None:
    for name, share in (("test", "20 %%"), ("validate", "10 %%")):
        who = f"who is kept to {name}: names with commas, or a fraction; default: {share} of them"
        parser.add_argument(f"--{name}-subjects", type=_subjects, metavar="NAMES", help=who)


def _subjects(text: str) -> float | list[str]:
    if re.fullmatch(r"0?\.\d+|0", text):
        return float(text)
    return [name.strip() for name in text.split(",") if name.strip()]


def _add_train_options(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("-o", "--output", **OUTPUT, help="where to write; give every training a folder of its own")
    parser.add_argument("--device", **DEVICE)
    parser.add_argument("--factor", type=factor, metavar="F", help="how many times fewer lines of k-space; default 4")
    parser.add_argument("--levels", type=count, metavar="N", help="networks in sequence: 1, 2 or 3; default 1")
    parser.add_argument("--epochs", dest="max_epochs", type=count, metavar="N", help="how long to train; default 50")
    weights = "weights to go on from: a .pt file, or one of the bundle's by its name, such as model"
    parser.add_argument("--initial-weights", metavar="FILE", help=weights)
    _add_splits(parser)
    add_switch(parser, "--no-resume", "start anew and replace what the output folder holds")


def _train_keys(options: Options, root: Path) -> Options:
    if "output_dir" not in options:
        raise InputError("where are the weights to go? Add -o FOLDER, one of its own for every training.")
    named = options.get("initial_weights")
    return {"initial_weights": named_weights(named, root / "models")} if named else {}


def _add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    training = "output folder of the training whose weights are to be scored"
    parser.add_argument("-t", "--training", dest="training_dir", type=existing, metavar="FOLDER", help=training)
    output = "where to write; default: evaluation/ in the folder of the training"
    parser.add_argument("-o", "--output", **OUTPUT, help=output)
    parser.add_argument("--device", **DEVICE)
    parser.add_argument("--subset", choices=("test", "validate", "train"), help="whom to score; default: test")
    parser.add_argument("--all", action="store_true", help="score all pairs, whoever was trained on")


def _evaluate_keys(options: Options, _: Path) -> Options:
    if not {"training_dir", "ckpt_path"} & options.keys():
        raise InputError("which weights are to be scored? Add --training FOLDER, the output folder of a training.")
    return {"split_file": None} if options.get("all") else {}


def _add_study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", help="a file in configs/studies: table1, table2, figure3 ...")
    _add_data(parser)
    output = "where to write; default: output/studies in the bundle's folder"
    parser.add_argument("-o", "--output", **OUTPUT, help=output)
    scales = "small: minutes a row on 2 CPU cores; medium: an hour a row, and networks learn; paper: a GPU"
    parser.add_argument("--scale", choices=("small", "medium", "paper"), help=scales)
    parser.add_argument("--folds", dest="n_folds", type=count, metavar="N", help="cross-validate by subject")
    _add_splits(parser)


def _study_keys(options: Options, root: Path) -> Options:
    plan, known = options["plan"], sorted(file.stem for file in (root / "configs" / "studies").glob("*.yaml"))
    if plan not in known:
        meant = nearest(plan, known)
        raise InputError(f"{plan}: there is no such study; did you mean {meant}? There are {', '.join(known)}.")
    return {}


STAGES: Final = {
    "enhance": Stage(
        "inference",
        "inference.yaml",
        "sharpen images with trained weights",
        "mcsr enhance sub-01_T2w.nii.gz --reference sub-01_T1w.nii.gz -o out",
        add_enhance_options,
        enhance_keys,
    ),
    "train": Stage(
        "training",
        "train.yaml",
        "train weights on your own images",
        "mcsr train FOLDER -o output/mine --config quick",
        _add_train_options,
        _train_keys,
    ),
    "evaluate": Stage(
        "evaluating",
        "evaluate.yaml",
        "score trained weights on people they never saw",
        "mcsr evaluate FOLDER --training output/mine",
        _add_evaluate_options,
        _evaluate_keys,
    ),
    "study": Stage(
        "study",
        "study.yaml",
        "repeat a table or figure of the paper",
        "mcsr study table1 FOLDER --scale small",
        _add_study_options,
        _study_keys,
    ),
}
