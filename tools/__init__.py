"""Commands that are not stages: `python -m tools.NAME`, in the root folder of the repository."""

import sys
from pathlib import Path

# While a module is looked up for `python -m`, sys.argv[0] is "-m".
if sys.argv[0] == "-m" and not Path("params.yaml").is_file():
    sys.exit(f"tools: found no params.yaml in {Path.cwd()}; run this in the root folder of the repository")
