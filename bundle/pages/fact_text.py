# SPDX-License-Identifier: Apache-2.0
"""The facts of a case's record in words and units that need no manual."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

# Topics in the order of the page; any other follows under its own name.
_TITLES: Final = {
    "low_res": "Low-res input",
    "registration": "Alignment of the reference",
    "input": "Checks of the input",
    "interval": "Error bars",
    "data_consistency": "Data consistency",
    "time": "Time",
}
_FOLDERS: Final = re.compile(r"(?<![^\s(])/(?:[^/\s:]+/)+(?=[^/\s])")  # of a path within a sentence
_SHARE: Final = "%"  # unit of a part of 1
# Label and unit of facts whose names need words.
_KNOWN: Final = {
    ("low_res", "said"): ("What it is", ""),
    ("low_res", "matrix_before"): ("Matrix as it came", ""),
    ("low_res", "matrix_after"): ("Matrix of the output", ""),
    ("low_res", "spacing_before"): ("Voxels as they came", "mm"),
    ("low_res", "spacing_after"): ("Voxels of the output", "mm"),
    ("low_res", "measured"): ("Measured samples of k-space", ""),
    ("registration", "usable"): ("Used", ""),
    ("registration", "resampled"): ("Brought to the grid of the target", ""),
    ("registration", "shift_mm"): ("Found shifted by", "mm"),
    ("registration", "rotation_degrees"): ("Found turned by", "°"),
    ("registration", "displacement_mm"): ("Found to lie off by, mean over the head", "mm"),
    ("registration", "overlap_start"): ("Head in its field of view, by the headers", _SHARE),
    ("registration", "overlap"): ("Head in its field of view", _SHARE),
    ("registration", "metric_start"): ("Mutual information by the headers", "nats"),
    ("registration", "metric_end"): ("Mutual information where found", "nats"),
    ("registration", "start"): ("Started from", ""),
    ("registration", "apparent_shift_mm"): ("Still seems to lie off by", "mm"),
    ("registration", "information"): ("Mutual information on the grid", "nats"),
    ("registration", "sharpness"): ("Of it lost at another 4 mm", _SHARE),
    ("input", "spacing"): ("Voxels in the plane", "mm"),
    ("input", "slice_distance"): ("Distance of slices", "mm"),
    ("input", "matrix"): ("Matrix in the plane", ""),
    ("input", "target_fluid"): ("Brightness of fluid over tissue, target", ""),
    ("input", "reference_fluid"): ("Brightness of fluid over tissue, reference", ""),
    ("input", "target_noise"): ("Noise of the target, of tissue", _SHARE),
    ("input", "reference_noise"): ("Noise of the reference, of tissue", _SHARE),
    ("input", "edge_agreement"): ("Agreement of edges (0.5 none, 1 all)", ""),
    ("interval", "typical"): ("Nine of ten errors are smaller, in half of the tissue", _SHARE),
    ("interval", "widest"): ("The same, where they are largest: a twentieth of the tissue", _SHARE),
    ("data_consistency", "restored"): ("Measurement put back", ""),
}
_HIDDEN: Final = (
    *(f"low_res {name}" for name in ("deviation", "window", "source", "zero_filled_by")),
    *("registration matrix", "input target_histogram", "input reference_histogram"),
)
_AXES: Final = ("factor", "matrix", "spacing", "measured")  # first words of facts that have a value an axis
_UNITS: Final = {"mm": "mm", "degrees": "°", "s": "s", "seconds": "s", "percent": "%", "db": "dB"}  # by the last word
# A title, and label and value of each fact.
FactGroup = tuple[str, list[tuple[str, str]]]


def fact_groups(facts: Mapping[str, Mapping[str, Any]]) -> list[FactGroup]:
    """Return the facts of a record, JSON values by topic and name, topic by topic as text."""
    order = dict.fromkeys((*_TITLES, *facts))  # known topics first
    groups = [(_TITLES.get(topic, _words(topic)), list(_rows(topic, facts.get(topic, {})))) for topic in order]
    return [group for group in groups if group[1]]


def fact_text(topic: str, name: str, value: Any) -> str:
    """Return the value of a fact as text with its unit."""
    _, unit = _KNOWN.get((topic, name), ("", _unit(name)))
    if unit == _SHARE and isinstance(value, float):
        return f"{value:.1%}"
    text = _plain(value, " \N{MULTIPLICATION SIGN} " if name.split("_")[0] in _AXES else ", ")
    return text if value is None or not unit else f"{text} {unit}"


def sentence_text(sentence: str) -> str:
    """Return a sentence with names of files without their folders, and a capital letter unless it begins with one."""
    start, colon, rest = sentence.partition(": ")
    if start.startswith("/"):  # a path, which may hold blanks
        return start.rpartition("/")[2] + _FOLDERS.sub("", colon + rest)
    sentence = _FOLDERS.sub("", sentence)
    first = sentence.partition(" ")[0]
    return sentence[:1].upper() + sentence[1:] if first.isalpha() else sentence


def _rows(topic: str, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _rows(topic, value, f"{prefix}{name}_")
        elif f"{topic} {name}" not in _HIDDEN:  # facts for programs
            label, _ = _KNOWN.get((topic, name), (_words(f"{prefix}{name}"), ""))
            yield label, fact_text(topic, name, value)


def _plain(value: Any, between: str = ", ") -> str:
    """Return a JSON value as text: numbers with three digits that count, lists with something between."""
    if value is None:
        return "\N{EM DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:{'.3g' if not abs(value) >= 1000 else '.0f'}}".replace("-", "\N{MINUS SIGN}")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return between.join(_plain(part) for part in value)
    return str(value)


def _unit(name: str) -> str:
    return _UNITS.get(name.rpartition("_")[2].lower(), "")


def _words(name: str) -> str:
    """Return a name such as ``n_slices`` or ``shift_mm`` as words, without its unit."""
    words = name.split("_")
    words = words[:-1] if len(words) > 1 and _unit(name) else words
    text = " ".join(["number", "of", *words[1:]] if words[0] == "n" else words).strip()
    return text[:1].upper() + text[1:]
