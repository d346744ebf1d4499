"""How Sphinx makes HTML of these pages and of the docstrings: ``make docs``."""

from __future__ import annotations

from importlib import metadata

project = "cometbot"
author = "the authors of cometbot"
release = metadata.version("cometbot")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "myst_parser"]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"cometbot {release}"
# Nothing is loaded from elsewhere: the pages work from a disk.
html_show_sphinx = False

myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
autodoc_default_options = {"show-inheritance": False}
