# SPDX-License-Identifier: Apache-2.0
"""The documentation as a site, by `make docs`: Sphinx reads the same Markdown files that are read without it.

The source folder is the bundle's, so that links between README.md, docs/ and all other files are those of the files
themselves. The landing page is README.md; navigation is added to it here, since it would show as text elsewhere.
"""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from shutil import copyfile

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

METADATA = json.loads((ROOT / "configs" / "metadata.json").read_text(encoding="utf-8"))
NAVIGATION = {
    "Start": ["tutorial", "ixi", "hospital"],
    "Use": ["models", "scanners", "training", "multi_gpu", "command", "data", "low_res", "registration", "trust"],
    "In the MONAI world": ["README", "export", "monai_label", "monai_deploy", "tracking"],
    "Method and results": ["method", "results", "speed", "attribution", "upstream"],
}
"""Pages of docs/ by the caption that they stand under; those that are not named here stand under the last one."""
TITLES = {"docs/README": "Model card"}

project = METADATA["name"]
author = METADATA["authors"]
copyright = METADATA["copyright"].removeprefix("Copyright (c) ")
version = release = METADATA["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "linked_files"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "docs/api/*.rst"]
exclude_patterns = [entry.name for entry in ROOT.iterdir() if entry.is_dir() and entry != DOCS]  # not to be searched
highlight_language = "none"  # most blocks are commands

myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # the model card's template skips a level
myst_links_external_new_tab = True

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"{project} {version}"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False


def navigation() -> Iterator[str]:
    """Yield a list of pages for each caption, as directives."""
    named = [page for pages in NAVIGATION.values() for page in pages]
    others = sorted({path.stem for path in DOCS.glob("*.md")} - set(named))
    *_, last = NAVIGATION
    for caption, pages in NAVIGATION.items():
        names = [f"docs/{page}" for page in [*pages, *(others if caption == last else [])]]
        yield _toctree(caption, names)
    yield _toctree("Reference", ["docs/api/index", "CONTRIBUTING", "SECURITY"])


def _toctree(caption: str, names: list[str]) -> str:
    entries = "\n".join(f"{TITLES[name]} <{name}>" if name in TITLES else name for name in names)
    return f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def add_navigation(_: Sphinx, name: str, content: list[str]) -> None:
    """Put the lists of pages behind the landing page's text."""
    if name == root_doc:
        content[0] = "\n".join([content[0], *navigation()])


def home_of(_: Sphinx, module: str, name: str) -> str | None:
    """Keep aliases such as ``dict[str, int]``, which Python says are builtins, in the module that names them."""
    value = getattr(import_module(module), name.partition(".")[0], None)
    return None if str(getattr(value, "__module__", "")).startswith("bundle") else module


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Give the landing page the name that servers look for."""
    if error is None and app.builder.format == "html":
        copyfile(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Connect the steps of this file."""
    app.connect("source-read", add_navigation)
    app.connect("viewcode-follow-imported", home_of)
    app.connect("build-finished", add_index)
