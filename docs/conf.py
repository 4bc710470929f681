"""The documentation site: `make docs` builds it into build/docs, offline, with warnings as errors."""

from importlib.metadata import version as installed
from typing import Any

from sphinx.application import Sphinx

from sparsefed.core.keys import KEYS
from sparsefed.core.spec import Spec

project = "sparsefed"
author = "The sparsefed authors"
version = release = installed("sparsefed")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # MathJax and its fonts from a wheel: formulas render without a network
    "sphinx_copybutton",
    "cyclopts.ext.sphinx",
]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # links to headings, as GitHub resolves them

default_role = "code"  # docstrings mark code by single backticks
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "exclude-members": "model_config, family, function_member",
}
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "sparsefed"
html_static_path = ["_static"]
html_css_files = ["wide-tables.css"]
html_show_copyright = False
html_show_sourcelink = False


def signature_of_fields(app: Sphinx, what: str, name: str, obj: Any, *rest: Any) -> tuple[str, str] | None:
    """A spec's signature is its fields and their defaults; the constraints stand in the fields' own lines."""
    if what != "class" or not issubclass(obj, Spec):
        return None
    fields = obj.model_fields.items()
    words = [key if field.is_required() else f"{key}={field.default!r}" for key, field in fields]
    return f"({', '.join(words)})", ""


def keys_once(app: Sphinx, what: str, name: str, obj: Any, *rest: Any) -> None:
    """A spec's docstring ends with its keys; here the fields follow with the same text."""
    lines: list[str] = rest[-1]
    if what == "class" and issubclass(obj, Spec) and KEYS in lines:
        del lines[lines.index(KEYS) :]


def setup(app: Sphinx) -> None:
    """Hook the above into autodoc."""
    app.connect("autodoc-process-signature", signature_of_fields)
    app.connect("autodoc-process-docstring", keys_once)
