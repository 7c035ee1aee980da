# SPDX-License-Identifier: Apache-2.0
"""A Sphinx extension: a link from a page to a file that is no page leads to a page that shows the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

FOLDER = "files"
"""Where the pages of files stand in the site."""
KEY = "linked_files"


def link_pages(app: Sphinx, document: nodes.document) -> None:
    """Replace each link to a file, which Sphinx would offer as a download, by one to the file's page."""
    name = app.env.current_document.docname
    for node in list(document.findall(download_reference)):
        path, _ = app.env.relfn2path(node["reftarget"], name)
        if _text(app, path) is None:
            continue  # a picture, or missing, of which Sphinx complains
        app.env.metadata[name].setdefault(KEY, []).append(path)
        uri = relative_uri(app.builder.get_target_uri(name), app.builder.get_target_uri(f"{FOLDER}/{path}"))
        node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=uri))


def file_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for each file that a page links to."""
    for path in sorted({path for entry in app.env.metadata.values() for path in entry.get(KEY, [])}):
        body = app.builder.highlighter.highlight_block(_text(app, path) or "", _language(path))
        yield f"{FOLDER}/{path}", {"title": path, "body": f"<h1>{path}</h1>\n{body}"}, "page.html"


def _text(app: Sphinx, path: str) -> str | None:
    try:
        return (Path(app.srcdir) / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _language(path: str) -> str:
    try:
        return str(get_lexer_for_filename(path).aliases[0])
    except ClassNotFound:
        return "none"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the two steps."""
    app.connect("doctree-read", link_pages, priority=400)  # before Sphinx collects downloads
    app.connect("html-collect-pages", file_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
