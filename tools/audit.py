"""Searches the code for dangerous calls, and the pinned packages for known vulnerabilities.

    python -m tools.extra audit
    python -m tools.audit

bandit reads the code, with the exceptions in pyproject.toml. pip-audit asks the package index about each
version in requirements.lock; where that cannot be reached, a line says so.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from stages.lib.command import Refusal, exit_on_refusal
from stages.lib.terminal import printable

CODE = ("stages", "tools", "firth")
LOCK = "requirements.lock"
SHOWN = 200  # characters of an error message


def call(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a module of the group `audit`. Raises Refusal if it is not installed."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if f"No module named {module}" in done.stderr:
        raise Refusal(f"{module} is not installed; run `python -m tools.extra audit`")
    return done


def code() -> list[str]:
    """The findings of bandit."""
    options = ("--configfile", "pyproject.toml", "--format", "json", "--quiet")
    done = call("bandit", "--recursive", *CODE, *options)
    try:
        results = json.loads(done.stdout)
    except ValueError:
        raise Refusal(f"bandit failed: {last_line(done.stderr)}") from None
    unread = [f"{error['filename']}: not read: {error['reason']}" for error in results["errors"]]
    return unread + [
        f"{one['filename']}:{one['line_number']}: {one['test_id']}: {one['issue_text']}"
        for one in results["results"]
    ]


def packages() -> tuple[list[str], str]:
    """The known vulnerabilities of the pinned packages, and what could not be looked up."""
    options = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
    done = call("pip_audit", "--requirement", LOCK, *options)
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], f"the data about vulnerabilities cannot be reached: {last_line(done.stderr)}"
    skipped = [package for package in answers if "skip_reason" in package]
    missing = ""
    if skipped:
        first = skipped[0]["skip_reason"]
        missing = f"no data about {len(skipped)} of {len(answers)} packages ({first})"
    return [line for package in answers for line in vulnerabilities(package)], missing


def vulnerabilities(package: dict[str, Any]) -> list[str]:
    """A line for each vulnerability of a package."""
    lines = []
    for one in package.get("vulns", []):
        fixed = ", ".join(one["fix_versions"]) or "none yet"
        lines.append(f"{package['name']} {package['version']}: {one['id']}; fixed in: {fixed}")
    return lines


def last_line(text: str) -> str:
    """The last line of an error message, as far as it is shown."""
    return (text.strip().splitlines() or ["no message"])[-1][:SHOWN]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the findings. Raises Refusal if there are any."""
    parser = argparse.ArgumentParser(
        "python -m tools.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    dangerous = code()
    known, missing = packages()
    for line in (*dangerous, *known):
        print(printable(line))
    if missing:
        print(f"not checked: {printable(' '.join(missing.split()))}")
    if dangerous or known:
        raise Refusal(f"{len(dangerous)} dangerous calls, {len(known)} vulnerabilities; see above")
    print(f"no dangerous calls in {', '.join(CODE)}" + ("" if missing else f"; no vulnerability in {LOCK}"))


if __name__ == "__main__":
    with exit_on_refusal("audit"):
        main()
