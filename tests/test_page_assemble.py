"""One HTML file from a template, scripts, styles and data, with a content-security policy."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from stages.lib.page import assemble as module
from stages.lib.page.assemble import assemble, policy
from tests.conftest import ROOT

TEMPLATE = "<!doctype html>\n<title>{{ title }}</title>\n{{ head }}\n<body>{{ title }}\n{{ foot }}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of page files, in place of stages/page."""
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    files = {"page.jinja": TEMPLATE, "one.js": "const one = 1;\n", "two.js": "one + 1;\n", "a.css": "p{}\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def page(title: str = "x") -> str:
    return assemble("page.jinja", {"title": title}, ["one.js", "two.js"], ["a.css"], {"space": "QUJD"})


def test_the_page_has_its_scripts_in_order_in_one_scope_after_its_data(folder: Path) -> None:
    html = page()
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script == '"use strict";\n(() => {\nconst one = 1;\n\none + 1;\n\n})();\n'
    assert '<script type="text/plain" id="space">QUJD</script>' in html
    assert html.index('id="space"') < html.index("<script>")


def test_the_policy_allows_the_script_and_the_style_of_the_page_and_nothing_else(folder: Path) -> None:
    html = page()
    (rules,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', html)
    directives = dict(rule.split(" ", 1) for rule in rules.split("; "))
    for element, name in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[name] == f"'sha256-{digest}'"
    assert directives["default-src"] == directives["base-uri"] == directives["form-action"] == "'none'"
    assert "unsafe" not in rules
    assert "http" not in rules
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_another_script_has_another_policy() -> None:
    assert policy("a", "b") != policy("a ", "b") != policy("a ", "b ")


def test_text_is_escaped(folder: Path) -> None:
    html = page("<script>alert(1)</script>\"'&")
    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;</title>" in html
    assert html.count("<script>") == 1


@pytest.mark.parametrize("text", ["'</script>'", "// </SCRIPT foo", "/* </style> */", "x <!-- y"])
@pytest.mark.parametrize("file", ["two.js", "a.css"])
def test_a_source_that_would_end_its_element_is_refused(folder: Path, file: str, text: str) -> None:
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(file)):
        page()


def test_a_missing_value_of_a_template_is_an_error(folder: Path) -> None:
    with pytest.raises(UndefinedError):
        assemble("page.jinja", {}, [], [], {})


def test_two_pages_have_the_same_bytes(folder: Path) -> None:
    assert page() == page()


@pytest.mark.parametrize("path", sorted((ROOT / "stages/page").glob("*.*")), ids=lambda path: path.name)
def test_the_shipped_files_can_be_part_of_a_page(path: Path) -> None:
    if path.suffix in (".js", ".css"):
        assert module.source(path.name)
    else:
        # What the policy forbids would not work: style attributes and inline event handlers.
        assert not re.search(r"<[^>]*\s(?:style|on\w+)=", path.read_text(encoding="utf-8"))
