"""Commands that are not stages: `python -m tools.NAME`, in the root folder of the repository."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# While a module is looked up for `python -m`, sys.argv[0] is "-m".
if sys.argv[0] == "-m" and ROOT in Path.cwd().parents:
    sys.exit(f"tools: run this in {ROOT}, the root folder of the repository, not in {Path.cwd().name}")
