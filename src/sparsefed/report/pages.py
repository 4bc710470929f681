"""Pages of HTML that open from disk: one file, no script from elsewhere, no network."""

import re
from functools import cache
from typing import Any

__all__ = ["coded", "page", "prose"]


@cache
def _templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("sparsefed.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def prose(markdown: str) -> Any:
    """A note as HTML that a template takes as it is; HTML in the note stays text."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("js-default").render(markdown))


def coded(line: str) -> Any:
    """A sentence as a paragraph of HTML, what stands in backticks as code; all else in it is text."""
    from markupsafe import Markup, escape

    return Markup("<p>" + re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(line))) + "</p>")


def page(template: str, **content: Any) -> str:
    """A template of this package, filled in; whatever is text in `content` is escaped."""
    return _templates().get_template(template).render(**content)
