# SPDX-License-Identifier: Apache-2.0
"""Links between pages lead somewhere: to files of the bundle, and to headings by GitHub's names for them."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from bundle.tools.packing import contents


def targets(page):
    """Yield the links of a page that lead to files of the bundle, as link, path and anchor."""
    for link in page.links:
        if not re.match(r"[a-z]+:", link):
            file, _, name = unquote(link).partition("#")
            yield link, (page.path.parent / file).resolve() if file else page.path, name


def test_every_relative_link_leads_to_a_file(pages, bundle_root) -> None:
    found = [(page, link, path) for page in pages for link, path, _ in targets(page)]
    assert len(found) > 100
    assert [f"{page.path.name}: {link}" for page, link, path in found if not path.is_file()] == []
    assert all(path.is_relative_to(bundle_root) for _, _, path in found)


def test_every_anchor_is_a_heading_of_its_page(pages) -> None:
    known = {page.path: page for page in pages}
    found = [(page, link, path, name) for page in pages for link, path, name in targets(page) if name]
    assert len(found) > 20
    broken = [f"{page.path.name}: {link}" for page, link, path, name in found if name not in known[path].anchors]
    assert broken == []


def test_no_link_leads_to_an_address_without_encryption(pages) -> None:
    assert [link for page in pages for link in page.links if link.startswith("http:")] == []


def test_every_page_has_one_title_and_is_linked_from_another(pages, bundle_root) -> None:
    landing = bundle_root / "README.md"
    linked = {path for page in pages for _, path, _ in targets(page) if path != page.path}
    for page in pages:
        assert len(re.findall(r"^# ", page.prose, re.MULTILINE)) == 1, page.path.name
        assert page.path in linked or page.path == landing, f"{page.path.name}: no page leads here"


def test_what_pages_of_the_zoo_link_to_is_packed_with_them(pages, bundle_root) -> None:
    packed = {bundle_root / name for name in contents(bundle_root)}
    lost = [link for page in pages if page.path in packed for link, path, _ in targets(page) if path not in packed]
    assert lost == []


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("Hard data consistency", "hard-data-consistency"),
        ("4. What comes out", "4-what-comes-out"),
        ("Did the paper's orders hold?", "did-the-papers-orders-hold"),
        ("Patients (`open_ms`)", "patients-open_ms"),
        ("train, evaluate, study", "train-evaluate-study"),
        ("A *word* and a [link](x.md)", "a-word-and-a-link"),
    ],
)
def test_anchor_is_github_s(heading, name, pages, tmp_path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# Title\n\n## {heading}\n\n```\n# no heading\n```\n\n## {heading}\n")
    assert type(pages[0])(Path(path)).anchors == {"title", name, f"{name}-1"}
