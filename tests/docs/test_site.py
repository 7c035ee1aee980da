# SPDX-License-Identifier: Apache-2.0
"""The site that `make docs` builds."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")),
        reason='the site needs Sphinx: pip install -c constraints.txt -e ".[docs]"',
    ),
]


class Addresses(HTMLParser):
    """Collect what a page links to and loads, and its anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        self.loaded += [values[key] for key in ("src", "href") if key in values and tag in ("img", "script", "link")]


@pytest.fixture(scope="module")
def site(bundle_root, tmp_path_factory) -> Path:
    """Build the site as `make docs` does, in another folder."""
    makefile = (bundle_root / "Makefile").read_text()
    (options,) = re.findall(r"-m sphinx (.+) -d build/doctrees -b html \. build/site$", makefile, re.MULTILINE)
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        *options.split(),
        "-d",
        folder / "doctrees",
        "-b",
        "html",
        ".",
        folder / "html",
    ]
    environment = os.environ | {"http_proxy": "http://localhost:9", "https_proxy": "http://localhost:9"}  # offline
    told = subprocess.run(command, cwd=bundle_root, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return folder / "html"


def test_site_has_every_page_and_begins_with_the_landing_page(site, pages, bundle_root) -> None:
    for page in pages:
        assert (site / page.path.relative_to(bundle_root).with_suffix(".html")).is_file()
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


def test_every_link_of_the_site_leads_somewhere_within_it(site) -> None:
    known = {path: Addresses(path) for path in site.rglob("*.html")}
    broken = []
    for path, page in known.items():
        for link in [link for link in page.links if not re.match(r"[a-z]+:", link)]:
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.is_file() or (anchor and anchor not in known[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert len(known) > 40
    assert broken == []


def test_site_loads_nothing_from_a_network(site) -> None:
    for path in site.rglob("*.html"):
        assert [name for name in Addresses(path).loaded if re.match(r"([a-z]+:)?//", name)] == []


def test_a_link_to_a_config_shows_its_text(site) -> None:
    page = (site / "docs" / "training.html").read_text()
    assert 'href="../files/configs/train.yaml.html"' in page
    assert "generator_schedule" in (site / "files" / "configs" / "train.yaml.html").read_text()


def test_python_reference_has_what_docstrings_say(site) -> None:
    page = (site / "docs" / "api" / "kspace.html").read_text()
    assert 'id="bundle.kspace.zero_fill"' in page
    assert "Parameters" in page
    for path in (site / "docs" / "api").glob("*.html"):
        assert path.stem in ("index", "cli") or path.read_text().count('class="sig ') > 1, path.name
