"""Builds the documentation's site: ``make docs``. Its pages can be read in the repository as well."""

import re
from pathlib import Path

from amphora.version import __version__

ROOT = Path(__file__).parents[1]

project = "Amphora"
author = "The Amphora authors"
copyright = author  # noqa: A001  (Sphinx's name for it)
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["conf.py"]
source_suffix = {".md": "markdown"}
default_role = "py:obj"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 100
autodoc_default_options = {"members": True, "inherited-members": "Exception", "show-inheritance": True}
napoleon_custom_sections = [("Options", "params_style")]
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False

html_theme = "furo"
html_title = f"Amphora {__version__}"
html_static_path = ["_static"]
html_css_files = ["amphora.css"]

#: Pages that are files of the repository's root, which has them for those who read there.
_FROM_ROOT = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}


def _read(app, docname, source):  # noqa: ARG001  (as Sphinx calls it)
    """Give the root's files as pages, and let links lead to pages."""
    if docname in _FROM_ROOT:
        # Their links start from the root.
        text = re.sub(r"\]\((?!https?:|#|docs/)", "](../", (ROOT / _FROM_ROOT[docname]).read_text())
        source[0] = text.replace("](docs/", "](")
    for page, name in _FROM_ROOT.items():
        source[0] = source[0].replace(f"](../{name}", f"]({page}.md")
    # What is no page is named, for the site does not have it.
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)", _named, source[0])


def _named(link):
    text, path = link.groups()
    return f"`{path}`" if text.strip("`") in (path, path.rstrip("/")) else f"{text} (`{path}`)"


def setup(app):
    """Register what is Amphora's own here."""
    app.connect("source-read", _read)
