# SPDX-License-Identifier: Apache-2.0
"""What is said in more than one place is the same in all of them, and what lists parts of the bundle lists them all."""

import json
import re
import tomllib

import pytest
import yaml


@pytest.fixture(scope="module")
def metadata(bundle_root):
    return json.loads((bundle_root / "configs" / "metadata.json").read_text())


@pytest.fixture(scope="module")
def citation(bundle_root):
    return yaml.safe_load((bundle_root / "CITATION.cff").read_text())


@pytest.fixture(scope="module")
def contributing(bundle_root):
    return (bundle_root / "CONTRIBUTING.md").read_text()


def test_versions_of_citation_package_and_metadata_are_one(citation, metadata, bundle_root) -> None:
    package = tomllib.loads((bundle_root / "pyproject.toml").read_text())["project"]
    assert citation["version"] == package["version"] == metadata["version"]


def test_citation_names_the_authors_licence_and_paper_of_the_metadata(citation, metadata) -> None:
    assert [author["name"] for author in citation["authors"]] == [metadata["authors"]]
    assert citation["license"] == "Apache-2.0"
    (paper,) = citation["references"]
    (reference,) = metadata["references"]
    names = [f"{author['family-names']} {author['given-names'].strip('.')}" for author in paper["authors"]]
    assert reference.startswith(f"{', '.join(names)}. {paper['title']}. {paper['journal']} ")
    assert reference.endswith(f" {paper['volume']}({paper['issue']}), {paper['year']}. doi:{paper['doi']}")


def test_citation_has_the_fields_of_the_citation_file_format(citation) -> None:
    assert citation["cff-version"] == "1.2.0"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    known = {"abstract", "type", "version", "license", "keywords", "references", "preferred-citation", "doi"}
    assert set(citation) <= known | {"cff-version", "message", "title", "authors", "date-released", "identifiers"}
    assert citation["type"] in ("software", "dataset")
    for paper in citation["references"]:
        assert {"type", "title", "authors"} <= set(paper)
        assert isinstance(paper["year"], int)


def test_results_of_the_landing_page_are_those_of_the_model_card(bundle_root) -> None:
    def rows(name):
        text = re.sub(r" \(\d\)", "", (bundle_root / name).read_text())  # the card's notes
        return text.split("| network | tested on")[1].split("\n\n")[0].splitlines()

    assert len(rows("README.md")) > 3
    assert rows("README.md") == rows("docs/README.md")


def test_contributing_has_a_sentence_for_every_part_of_the_bundle(contributing, bundle_root) -> None:
    table = "\n".join(line.split("|")[1] for line in contributing.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([^`]+)`", table))
    parts = [path for path in (bundle_root / "bundle").iterdir() if path.is_dir() or path.suffix == ".py"]
    parts += [path for path in bundle_root.glob("configs/*") if path.is_dir()]
    names = {path.relative_to(bundle_root).as_posix() for path in parts if not path.name.startswith("__")}
    assert names - named == set()
    assert [name for name in sorted(named) if not (bundle_root / name).exists()] == []


def test_imports_point_down_in_the_order_that_contributing_states(contributing, bundle_root) -> None:
    (sentence,) = re.findall(r"^Imports point down only.*$", contributing, re.MULTILINE)
    order = re.findall(r"`(\w+)`", sentence)
    package = bundle_root / "bundle"
    parts = {path.stem for path in package.iterdir() if not path.name.startswith("__")}
    assert set(order) == parts
    for index, part in enumerate(order):
        files = [package / f"{part}.py", *(package / part).rglob("*.py")]
        text = "\n".join(path.read_text() for path in files if path.is_file())
        imported = set(re.findall(r"^\s*(?:from|import) bundle\.(\w+)", text, re.MULTILINE))
        assert imported <= {*order[: index + 1]}, f"{part} imports {sorted(imported - {*order[: index + 1]})}"


def test_every_package_has_a_page_of_its_docstrings(bundle_root) -> None:
    folders = {path.name for path in (bundle_root / "bundle").iterdir() if (path / "__init__.py").is_file()}
    pages = {path.stem: path.read_text() for path in (bundle_root / "docs" / "api").glob("*.rst")}
    listed = set(re.findall(r"^   (\w+)$", pages.pop("index"), re.MULTILINE))
    assert listed == set(pages) == folders | {"kspace"}
    assert all(f".. automodule:: bundle.{name}\n" in page for name, page in pages.items())


def test_every_promise_of_security_has_tests_that_are_there(bundle_root) -> None:
    table = (bundle_root / "SECURITY.md").read_text().split("| --- |")[1].split("\n\n")[0]
    for row in table.splitlines()[1:]:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (bundle_root / file).read_text(), name
