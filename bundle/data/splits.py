# SPDX-License-Identifier: Apache-2.0
"""Split pairs by subject, once: the file is authoritative from then on, so a data set that grows is not reshuffled."""

import difflib
import hashlib
import itertools
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from bundle.data.datalist import SECTION
from bundle.errors import InputError
from bundle.files import atomic_path, json_content
from bundle.keys import SUBJECT, Pair
from bundle.settings import PathLike
from bundle.volumes.names import first_few

logger = logging.getLogger(__name__)

SPLITS: Final = ("train", "validate", "test")
TRAIN, VALIDATE, TEST = SPLITS

Subjects = dict[str, list[str]]
_REMEDY: Final = "delete it to draw the splits anew, or name another split_file"


@dataclass(frozen=True)
class SplitPlan:
    """Say how subjects are drawn; whoever is in neither other set is trained on."""

    test: float | Sequence[str] = 0.2  # of all subjects, or names
    validate: float | Sequence[str] = 0.1  # likewise; fractions are together below 1
    seed: int = 0
    n_folds: int | None = None  # at least 2; each tests other subjects, whatever test is
    fold: int | None = None  # from 0, the one to return

    def __post_init__(self) -> None:
        for name in (TEST, VALIDATE):
            object.__setattr__(self, name, _fraction_or_names(name, getattr(self, name)))
        (test_part, test), (validate_part, validate) = _parts(self.test), _parts(self.validate)
        if test_part + validate_part >= 1:
            raise InputError(f"test {self.test} and validate {self.validate} leave nobody to train on; lower them.")
        if both := first_few(sorted({*test} & {*validate})):
            raise InputError(f"subjects {both} are named for both test and validate; name each once.")
        if (self.fold is None) != (self.n_folds is None):
            raise InputError(f"fold is {self.fold} and n_folds is {self.n_folds}; give both or neither.")
        if self.n_folds is None:
            return
        if self.n_folds < 2:
            raise InputError(f"n_folds is {self.n_folds}; take 2 or more.")
        if self.fold not in range(self.n_folds):
            raise InputError(f"fold is {self.fold}; with n_folds {self.n_folds} take 0 to {self.n_folds - 1}.")
        if test:
            raise InputError("test names subjects, but folds test everybody in turn; drop either of them.")


def split_pairs(pairs: Sequence[Pair], split_file: PathLike, plan: SplitPlan | None = None) -> dict[str, list[Pair]]:
    """Split pairs by subject as ``split_file`` says, drawing and writing it where it does not exist.

    Subjects are ranked by a hash of seed and name, whatever the order of ``pairs`` and the machine. With a fraction
    above 0 the test set gets at least one of two subjects and the validation set one of three. Pairs that carry a
    section of their datalist stay in it; sections that it lacks are drawn from its training section. ``InputError`` if
    the file is damaged, contradicts the plan or lacks a subject, or the draw is impossible.
    """
    if not pairs:
        raise InputError("there are no pairs to split; check dataset_dir.")
    plan = _with_sections(pairs, plan or SplitPlan())
    subjects = {pair[SUBJECT] for pair in pairs}
    file = Path(split_file)
    if file.exists():
        splits = _read_for(plan, subjects, file)
    else:
        splits = [_draw(subjects, plan, fold) for fold in range(plan.n_folds or 1)]
        text = json.dumps({"plan": _recorded(plan), "splits": splits}, indent=2) + "\n"
        with atomic_path(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    chosen = splits[plan.fold or 0]
    result = {name: [pair for pair in pairs if pair[SUBJECT] in chosen[name]] for name in SPLITS}
    logger.info("%s: %s", file, ", ".join(f"{len(result[name])} pairs to {name}" for name in SPLITS))
    return result


def read_split(split_file: PathLike, name: str, fold: int | None = None) -> list[str]:
    """Return the subjects of a set that ``split_pairs`` wrote; an ``InputError`` where file, set or fold is missing."""
    file = Path(split_file)
    if not file.exists():
        raise InputError(f"{file}: there is no split file; train first, or name the split_file of a training.")
    _, splits = _read(file)
    if name not in SPLITS:
        raise InputError(f"{file} has no set {name!r}; choose {', '.join(SPLITS)}.")
    # a network was trained on the test subjects of every fold but its own
    if fold not in range(len(splits)) and not (fold is None and len(splits) == 1):
        raise InputError(f"{file} has {len(splits)} folds and fold is {fold}; take 0 to {len(splits) - 1}.")
    return splits[fold or 0][name]


def _draw(subjects: Iterable[str], plan: SplitPlan, fold: int) -> Subjects:
    ranked = _ranked(subjects, str(plan.seed))
    (test_part, test), (validate_part, validate) = _parts(plan.test), _parts(plan.validate)
    if unknown := [name for name in (*test, *validate) if name not in ranked]:
        nearest = difflib.get_close_matches(unknown[0], ranked, n=1)
        hint = f"is {nearest[0]} meant?" if nearest else f"it has {first_few(sorted(ranked))}."
        raise InputError(f"the data set has no subject {unknown[0]} to test or validate on; {hint}")
    pool = [name for name in ranked if name not in {*test, *validate}]
    if plan.n_folds:
        if len(pool) < plan.n_folds:
            raise InputError(f"{len(pool)} subjects do not fill n_folds {plan.n_folds}; lower n_folds.")
        test = pool[fold :: plan.n_folds]
        pool = _ranked(set(pool) - set(test), f"{plan.seed}:{fold}")
    elif n_test := _count(test_part, len(ranked), len(pool), 1 + (validate_part > 0)):
        test, pool = pool[:n_test], pool[n_test:]
    if n_validate := _count(validate_part, len(ranked), len(pool), 1):
        validate, pool = pool[:n_validate], pool[n_validate:]
    if not pool:
        raise InputError("the named test and validation subjects leave nobody to train on; name fewer of them.")
    drawn = {TRAIN: sorted(pool), VALIDATE: sorted(validate), TEST: sorted(test)}
    for name in (TEST, VALIDATE):
        if getattr(plan, name) and not drawn[name]:
            logger.warning("%d subjects are too few to %s on one; that set is empty", len(ranked), name)
    return drawn


def _count(fraction: float, n_all: int, n_left: int, n_kept: int) -> int:
    """Turn a fraction of all into a number out of those left: at least one of two, keeping ``n_kept`` of three."""
    return 0 if fraction == 0 or n_left < 2 else max(1, min(round(fraction * n_all), n_left - n_kept))


def _ranked(subjects: Iterable[str], salt: str) -> list[str]:
    """Shuffle by SHA-256, which is the same in every Python on every machine, unlike hash() and shuffle()."""
    return sorted(subjects, key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).digest())


def _with_sections(pairs: Iterable[Pair], plan: SplitPlan) -> SplitPlan:
    sections: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if SECTION in pair:
            sections[pair[SECTION]].add(pair[SUBJECT])
    if twice := _repeated(itertools.chain.from_iterable(sections.values())):
        raise InputError(f"subjects {first_few(twice)} are in several sections of the datalist; keep each in one.")
    for name in (TEST, VALIDATE):
        (_, stated), subjects = _parts(getattr(plan, name)), sorted(sections[name])
        if not subjects or stated == subjects:
            continue
        if stated or (name == TEST and plan.n_folds):
            asked, own = f"names {first_few(stated)}" if stated else "asks for folds", first_few(subjects)
            raise InputError(
                f"the datalist has its own {name} section ({own}) where the plan {asked}; drop either of them."
            )
        plan = replace(plan, **{name: subjects})  # type: ignore[arg-type]
    return plan


def _read(file: Path) -> tuple[dict[str, Any], list[Subjects]]:
    try:
        content = json_content(file)
        plan = dict(content["plan"])
        splits = [{name: [str(subject) for subject in fold[name]] for name in SPLITS} for fold in content["splits"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no readable split file ({error!r}); {_REMEDY}.") from error
    for fold in splits:
        if twice := _repeated(itertools.chain.from_iterable(fold.values())):
            raise InputError(f"{file} lists {first_few(twice)} more than once; keep each in one set, or {_REMEDY}.")
    if len(splits) != (n_folds := plan.get("n_folds") or 1):
        raise InputError(f"{file} holds {len(splits)} folds where its plan says {n_folds}; {_REMEDY}.")
    return plan, splits


def _read_for(plan: SplitPlan, subjects: set[str], file: Path) -> list[Subjects]:
    (recorded, splits), wanted = _read(file), _recorded(plan)
    if differing := [key for key in wanted if recorded.get(key) != wanted[key]]:
        drawn = ", ".join(f"{key} {recorded.get(key)} (asked for: {wanted[key]})" for key in differing)
        raise InputError(f"{file} was drawn with {drawn}; {_REMEDY}.")
    known = [set(itertools.chain.from_iterable(fold.values())) for fold in splits]
    if new := first_few(sorted(subjects - known[0].intersection(*known))):
        raise InputError(f"{file} does not know the subjects {new}; add them to its lists, {_REMEDY}.")
    if gone := known[-1] - subjects:
        logger.warning("%s names subjects that the data set lacks: %s", file, first_few(sorted(gone)))
    return splits


def _recorded(plan: SplitPlan) -> dict[str, Any]:
    recorded = json.loads(json.dumps(asdict(plan)))  # as JSON gives it back
    del recorded["fold"]  # one file holds all of them
    return recorded | ({TEST: None} if plan.n_folds else {})


def _fraction_or_names(name: str, value: object) -> float | tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence):
        return tuple(sorted({str(subject) for subject in value}))
    if isinstance(value, int | float) and 0 <= value < 1:
        return float(value)
    raise InputError(f"{name} is {value!r}; give a fraction of the subjects in [0, 1) or a list of their names.")


def _parts(value: float | Sequence[str]) -> tuple[float, list[str]]:
    """Return a setting as a fraction and as names, one of which is nothing."""
    return (value, []) if isinstance(value, int | float) else (0.0, list(value))


def _repeated(subjects: Iterable[str]) -> list[str]:
    return sorted(subject for subject, n_times in Counter(subjects).items() if n_times > 1)
