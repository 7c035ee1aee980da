# SPDX-License-Identifier: Apache-2.0
"""``python -m bundle.tools.packing``: the bundle as one zip for the Model Zoo; the same files give the same bytes."""

import argparse
import json
import posixpath
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import yaml

from bundle.config_files import bundle_root
from bundle.console import run_tool
from bundle.files import atomic_path

NAME: Final = "mri_multi_contrast_super_resolution"  # in the Zoo, and of the one folder in the zip
CARD: Final = "docs/README.md"  # where the Zoo looks for the model card; Hugging Face reads README.md
CARD_METADATA: Final = "docs/model_card.yaml"
CONTENTS: Final = (  # what a bundle needs to run, to be trained and to be understood
    *("LICENSE", "*.md", "*.cff", "constraints.txt", "pyproject.toml", "large_files.yml"),
    *("bundle/**/*.py", "bundle/**/templates/*"),
    *("configs/**/*.yaml", "configs/metadata.json", "configs/logging.conf"),
    *("docs/**/*.md", "docs/**/*.txt", "docs/**/*.png", "docs/**/*.csv", CARD_METADATA),
    *("models/*.pt", "models/*.json", "models/*.npz", "models/model.ts", "models/model.pt2", "models/model.onnx"),
)
LARGE: Final = 25_000_000  # bytes above which the Zoo wants an address in ``large_files.yml`` in a file's place


def contents(root: Path) -> list[str]:
    """Return the files of a bundle that are packed, relative to its folder, in a fixed order; none that is hidden."""
    found = (path.relative_to(root) for pattern in CONTENTS for path in root.glob(pattern) if path.is_file())
    return sorted({path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)})


def pack(root: Path, folder: Path) -> Path:
    """Write the bundle in a folder as ``<name>_v<version>.zip`` into another, made where missing; return the zip."""
    version = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    path = folder / f"{NAME}_v{version}.zip"
    # stored: weights hardly shrink, and zlib's versions differ in what they make of the same bytes
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in contents(root):
            entry = zipfile.ZipInfo(f"{NAME}/{name}")  # of 1980, whenever the file is of
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, model_card(root) if name == "README.md" else (root / name).read_bytes())
    return path


def model_card(root: Path) -> str:
    """Return the model card as ``README.md`` of the packed folder: its metadata on top, its links from there."""
    metadata = (root / CARD_METADATA).read_text(encoding="utf-8")
    card = (root / CARD).read_text(encoding="utf-8")
    moved = re.sub(r"(?<=\]\()(?!https?:|#|mailto:)[^)]+", lambda link: _from_root(link[0]), card)
    return f"---\n{metadata}---\n\n{moved}"


def _from_root(link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(CARD), link))


def remarks(root: Path) -> Iterator[str]:
    """Yield what whoever packs a bundle should know of it, a sentence each."""
    if not (root / "models" / "model.pt").is_file():
        yield (
            "models/model.pt is not there, so the bundle is packed without weights: it can be trained, and the Zoo "
            "refuses it; train, and copy model.pt and model.json from the training's output folder to models."
        )
    elif not (root / "models" / "model.json").is_file():
        yield (
            "models/model.json is not there: nothing tells which network models/model.pt belongs to, unless it is the "
            "default one; copy it from the training's output folder."
        )
    addresses = root / "large_files.yml"
    listed = yaml.safe_load(addresses.read_text(encoding="utf-8")) if addresses.is_file() else {}
    elsewhere = {entry["path"] for entry in listed.get("large_files", [])}
    for name in contents(root):
        size = (root / name).stat().st_size
        if size > LARGE and name not in elsewhere:
            yield (
                f"{name} has {size / 1e6:.1f} MB: the zip holds it, but in the Zoo's folder large_files.yml must name "
                "an address of it in its place."
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack the bundle that this package lies in; return the exit status, 2 where nothing could be written."""
    parser = argparse.ArgumentParser(prog="python -m bundle.tools.packing", description="Pack the bundle into one zip.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("dist"), help="where to write it (dist)")
    folder = parser.parse_args(arguments).folder

    def tool() -> str:
        root = bundle_root()
        sys.stderr.writelines(f"{sentence}\n" for sentence in remarks(root))
        return str(pack(root, folder))

    return run_tool(tool)


if __name__ == "__main__":
    sys.exit(main())
