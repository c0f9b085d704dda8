"""Audit: what bandit and pip-audit answer, in lines; data that cannot be reached is one line."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stages.lib.command import Refusal
from tests.conftest import ROOT
from tests.test_words import FILES, relative
from tools import audit

CLEAN: dict[str, Any] = {"errors": [], "results": []}
CALL = {"filename": "a.py", "line_number": 3, "test_id": "B301", "issue_text": "pickle"}
WHOLE = {"name": "a", "version": "1", "vulns": []}
WEAK = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the two modules print."""

    def set_answers(bandit: str, pip_audit: str, error: str = "") -> None:
        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            return subprocess.CompletedProcess(
                command, 0, bandit if "bandit" in command else pip_audit, error
            )

        monkeypatch.setattr(subprocess, "run", run)

    return set_answers


def listed(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_nothing_to_mend(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answer(json.dumps(CLEAN), listed(WHOLE))
    audit.main([])
    assert capsys.readouterr().out == (
        "no dangerous calls in stages, tools, firth; no vulnerability in requirements.lock\n"
    )


def test_what_is_to_mend_is_listed_and_refused(answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answer(json.dumps(CLEAN | {"results": [CALL]}), listed(WHOLE, WEAK))
    with pytest.raises(Refusal, match="1 dangerous calls, 1 vulnerabilities"):
        audit.main([])
    assert capsys.readouterr().out == "a.py:3: B301: pickle\nb 2: CVE-1; fixed in: 3\n"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (listed(SKIPPED, WHOLE), "not checked: no data about 1 of 2 packages (not found)"),
        ("", "not checked: the data about vulnerabilities cannot be reached: no route"),
    ],
)
def test_data_out_of_reach_is_one_line(
    answer: Any, capsys: pytest.CaptureFixture[str], output: str, line: str
) -> None:
    answer(json.dumps(CLEAN), output, "Traceback\nno route\n")
    audit.main([])
    assert capsys.readouterr().out == f"{line}\nno dangerous calls in stages, tools, firth\n"


def test_a_missing_program_is_refused_in_one_line(answer: Any) -> None:
    answer("", "", "/usr/bin/python: No module named bandit")
    with pytest.raises(Refusal, match=r"^bandit is not installed; run `python -m tools.extra audit`$"):
        audit.main([])


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_each_exception_is_for_one_rule_and_has_a_reason(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if "# nosec" in line:
            assert re.search(r"# nosec B\d{3}  # \w.{5,}$", line), line


def test_the_programs_are_pinned() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", requirement) for requirement in groups["audit"])
