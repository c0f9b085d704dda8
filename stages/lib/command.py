"""The command line of a stage or a tool: paths as named flags, one line on standard error on bad input."""

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from stages.lib.outputs import outputs_kept
from stages.lib.processes import only_run, watch_dvc
from stages.lib.startup import block_pandas
from stages.lib.terminal import printable


class Refusal(Exception):
    """Bad input. The message is one line: where, what was found, what is allowed, what to do."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line and ends the process with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Ends the process."""
        _exit(self.prog.split()[-1].rpartition(".")[2], f"{message}; see {self.prog} --help", code=2)


def run(main: Callable[..., None]) -> None:
    """Calls `main` with one path for each of its parameters, each given as a flag of the same name.

    `def main(params: Path, roc_csv: Path)` is called by `python -m stages.NAME --params P --roc-csv Q`.
    Every flag is required, so two paths cannot be swapped unnoticed. Errors are reported as in
    `exit_on_refusal`, and the outputs of the run before are kept (`outputs_kept`). The stage ends with DVC.
    No two processes run it at once for the same last path, which is an output.
    """
    module = sys.modules["__main__"]
    name = Path(sys.argv[0]).stem
    spec = module.__spec__
    parser = _Parser(
        f"python -m {spec.name if spec else name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for parameter in inspect.signature(main).parameters:
        parser.add_argument(f"--{parameter.replace('_', '-')}", type=Path, required=True, metavar="PATH")
    paths = vars(parser.parse_args())
    block_pandas()
    with exit_on_refusal(name):
        watch_dvc()
        output = [*paths.values()][-1:]  # none, if `main` has no parameters
        with only_run(name, *output), outputs_kept():
            main(**paths)


@contextmanager
def exit_on_refusal(name: str) -> Iterator[None]:
    """Turns expected errors inside the block into one line on standard error, `name: what is wrong`.

    A `Refusal`, an `OSError` (a missing file, a full disk) and a `MemoryError` end the process with exit
    code 1, an interrupt with 130. Any other exception is a bug and keeps its traceback.
    """
    try:
        yield
    except Refusal as refusal:
        _exit(name, str(refusal))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _exit(name, f"{where}{error.strerror or error}")
    except MemoryError:
        _exit(name, "out of memory; a smaller dim, max_length or max_words needs less")
    except KeyboardInterrupt:
        _exit(name, "interrupted; nothing was written, run it again", code=130)


def _exit(name: str, message: str, code: int = 1) -> NoReturn:
    print(f"{name}: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(code)
