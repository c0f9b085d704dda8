"""One HTML file from a template of stages/page, with its scripts, styles and data inside.

The page has a content-security policy: it may run the scripts and use the styles that it was made with, which
are named by their hashes, and nothing else. It cannot load anything, and a script in a review cannot run.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path("stages/page")


def assemble(
    template: str,
    content: Mapping[str, Any],
    scripts: Sequence[str],
    styles: Sequence[str],
    data: Mapping[str, str],
) -> str:
    """The page that a template makes of its content.

    `scripts` and `styles` are files of stages/page, in the order in which they are used. All scripts share
    one scope. `data` is what `pack` made of arrays, by the id of the element that holds it.
    """
    script = '"use strict";\n(() => {\n' + "\n".join(map(source, scripts)) + "\n})();\n"
    style = "\n".join(map(source, styles))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    blocks = [f'<script type="text/plain" id="{name}">{text}</script>\n' for name, text in data.items()]
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy(script, style)}">\n'
        f"<style>{style}</style>\n"
    )
    foot = "".join(blocks) + f"<script>{script}</script>\n"
    return environment.get_template(template).render(
        content,
        head=Markup(head),  # nosec B704  # the project's own style
        foot=Markup(foot),  # nosec B704  # the project's own script, and data in which < is escaped
    )


def policy(script: str, style: str) -> str:
    """The content-security policy of a page with one script and one style."""
    return (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def digest(text: str) -> str:
    """The hash of an element's text, as a content-security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def source(name: str) -> str:
    """The text of a script or style. It must not contain what would end its element."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if "</script" in text.lower() or "</style" in text.lower() or "<!--" in text:
        raise ValueError(f"{name}: found a tag that ends the element which contains the file")
    return text
