"""The command line of a stage or a tool: paths as named flags, one line on standard error on bad input."""

import argparse
import inspect
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from stages.lib.outputs import outputs_kept
from stages.lib.processes import only_run, watch_dvc
from stages.lib.resources import shortage
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
    block_pandas()
    with exit_on_refusal(name):
        paths = vars(parser.parse_args())
        watch_dvc()
        output = [*paths.values()][-1:]  # none, if `main` has no parameters
        with only_run(name, *output), outputs_kept():
            main(**paths)


@contextmanager
def exit_on_refusal(name: str) -> Iterator[None]:
    """Turns expected errors inside the block into one line on standard error, `name: what is wrong`.

    A `Refusal`, an `OSError` (a missing file) and a lack of memory or of disk space end the process with
    exit code 1, an interrupt with 130. Any other exception is a bug and keeps its traceback. A tool ends
    quietly when the reader of its output has closed the pipe, as `head` does.
    """
    prepare_streams()
    try:
        try:
            yield
        except SystemExit as end:
            if not end.code:
                sys.stdout.flush()
            raise
        sys.stdout.flush()
    except KeyboardInterrupt:
        _exit(name, "interrupted; nothing was written, run it again", code=130)
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if isinstance(error, BrokenPipeError) and "DVC_STAGE" not in os.environ and reader_has_ended():
            end_output()
            sys.exit(0)
        if (message := one_line(error, name)) is None:
            raise
        _exit(name, "; ".join([message, *getattr(error, "__notes__", [])]))


def one_line(error: BaseException, name: str) -> str | None:
    """The message of an expected error in the stage or tool `name`; None if it is a bug."""
    if isinstance(error, Refusal):
        return str(error)
    if message := shortage(error, name):
        return message
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return None


def prepare_streams() -> None:
    """Opens the standard streams that are closed on the null device, and lets standard output escape what its
    encoding lacks. (Python leaves a closed one None, and the next file that is opened gets its number.)"""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def reader_has_ended() -> bool:
    """Whether nothing reads the pipe at standard output any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors alone
    return bool(poll.poll(0))


def end_output() -> None:
    """Writes what is left in the buffer of standard output, or drops it if that fails: Python would report
    another failure when the process ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit(name: str, message: str, code: int = 1) -> NoReturn:
    end_output()
    print(f"{name}: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(code)
