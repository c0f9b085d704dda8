"""Identifiers, the lengths of files and functions, and the imports of the product."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Names of earlier versions that have no meaning outside this project. ARCHITECTURE.md has the glossary.
BANNED = set(
    re.findall(
        r"\w+",
        """
        calm heed owed say told often heard found dice Place place advance walk stretch record_trace
        record_graph RECORDING meet merged MEETING Sharing OWN MOST WIDER LONGER Words PiecedWords
        pieces near mix apiece Line Runs Share shares About about blended cautious_loss cooled_loss
        Chain Reason reasons without_some folded few Figures figures_of Ints Floats Bools dealt
        together ours theirs mine asked wanted sure surest least heads lesson truth chances guess
        guesses
        """,
    )
)
LONGEST_STAGE, LONGEST_FUNCTION = 300, 50  # lines

FILES = sorted(path for folder in ("firth", "stages", "tools") for path in (ROOT / folder).rglob("*.py"))
STAGE_FILES = sorted((ROOT / "stages").glob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The names that a module defines or uses, with their lines, but for those of imported modules."""
    modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module)) if module in modules:
                pass
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name)):
                yield name, node.value.lineno


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_identifier_is_banned(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert sorted({name for name, _ in identifiers(tree)} & BANNED) == []


def test_a_banned_identifier_is_recognised() -> None:
    tree = ast.parse("def say(calm):\n    found = calm.heed\n    return f(owed=found)")
    assert {name for name, _ in identifiers(tree)} & BANNED == {"say", "calm", "found", "heed", "owed"}


@pytest.mark.parametrize("path", STAGE_FILES, ids=relative)
def test_a_stage_file_has_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_STAGE


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_function_has_at_most_50_lines(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_the_product_imports_nothing_from_benchmarks_or_tests(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(?:from|import) (?:benchmarks|tests)\b", text, re.MULTILINE)


def docstrings(path: Path) -> Iterator[str]:
    """All docstrings of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


# Modules with a fast form of something, which must name what it is equal to.
FAST = (
    "word2vec/__init__", "word2vec/blocks", "word2vec/gradients", "word2vec/capture", "pooling", "optim",
    "word_model", "scores", "ngram/keys", "ngram/regression",
)  # fmt: skip


@pytest.mark.parametrize("module", FAST)
def test_a_fast_form_names_its_reference_and_a_test_that_exists(module: str) -> None:
    named = [text for text in docstrings(ROOT / f"stages/lib/{module}.py") if "eference" in text]
    assert named
    for text in named:
        files = re.findall(r"tests/test_\w+\.py", text)
        assert files, "a reference without a test"
        code = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
        stems = {Path(file).stem for file in files}
        tests = set(re.findall(r"\btest_\w+\b", text)) - stems
        assert tests, "a reference without the name of a test"
        assert {name for name in tests if f"def {name}(" not in code} == set()
