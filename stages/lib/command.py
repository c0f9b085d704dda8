"""How a stage or a tool is run: paths in, one clear line out when something is wrong."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


class Refusal(Exception):
    """Bad input, said in one line: what was found, where, what is allowed, what to do."""


def run(main: Callable[..., None]) -> None:
    """Calls `main` with the paths on the command line, one for each of its parameters.

    What is wrong is told as `refusals` tells it.
    """
    name = Path(sys.argv[0]).stem
    wanted = list(inspect.signature(main).parameters)
    given = sys.argv[1:]
    if len(given) != len(wanted):
        _refuse(name, f"usage: python -m stages.{name} {' '.join(wanted).upper()}", code=2)
    without_pandas()
    with refusals(name):
        main(*map(Path, given))


class NoPandas:
    """Asked before all others where a module is, it says of pandas that there is none."""

    def find_spec(self, name: str, *_: object) -> None:
        """None, which leaves `name` to the others. Raises ModuleNotFoundError for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(f"{name} is kept out of this program", name=name)


def without_pandas() -> None:
    """Keeps pandas out of a program that has not imported it by now.

    Else pyarrow would, a third of a second at each start, to ask of what it is given whether that is pandas'.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, NoPandas())


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Around what a command does, for those with options too, which `run` does not know.

    A `Refusal`, and what the machine itself refuses (a missing file, a full disk, no memory left),
    ends the process with exit code 1 and one line on standard error: `name: what is wrong`.
    """
    try:
        yield
    except Refusal as refusal:
        _refuse(name, str(refusal))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _refuse(name, f"{where}{error.strerror or error}")
    except MemoryError:
        _refuse(name, "out of memory; a smaller dim, max_length or max_words needs less")
    except KeyboardInterrupt:
        _refuse(name, "interrupted; nothing was written, run it again", code=130)


def _refuse(name: str, line: str, code: int = 1) -> NoReturn:
    print(f"{name}: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(code)
