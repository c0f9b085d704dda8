"""Memory: a check before allocation, so that too large a choice is refused instead of the process killed."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from stages.lib.command import Refusal

# The files of a control group: its limit, its use, and what of that the kernel gives up on demand.
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))


def require_memory(needed: int, choice: str, advice: str, free: int | None = None) -> None:
    """Raises Refusal if `needed` bytes are more than `free`, by default `free_memory`.

    The message is `choice`, which names the parameter and its value, the two amounts, and `advice`.
    """
    if free is None:
        free = free_memory()
    if needed > free:
        raise Refusal(
            f"{choice} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; {advice}"
        )


def free_memory(root: Path = Path("/")) -> int:
    """The bytes that this process can still use: the machine's, or fewer if its control groups (containers,
    batch systems) or `ulimit -v` allow fewer. `root` is the folder with proc and sys."""
    limits: list[int] = [psutil.virtual_memory().available, *in_control_groups(root), *in_address_space()]
    return max(0, min(limits))


def in_control_groups(root: Path) -> Iterator[int]:
    """What each control group of this process, and each group around it, leaves free."""
    memberships = []
    with suppress(OSError):  # not Linux
        memberships = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    for membership in memberships:  # such as 0::/user.slice and 4:memory:/docker/1234
        _, _, rest = membership.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        # A container may see its own group as `base`, and the path of the machine's group as its own.
        group = base / path.lstrip("/")
        while group.is_relative_to(base):
            with suppress(OSError, ValueError, KeyError):  # no such group, or one without a limit: "max"
                yield left_free(group, *(V1 if controllers else V2))
            group = group.parent


def left_free(group: Path, limit: str, use: str, given_up: tuple[str, ...]) -> int:
    """What a control group leaves free. Raises ValueError or OSError if it has no limit."""
    allowed = int((group / limit).read_text(encoding="utf-8"))
    used = int((group / use).read_text(encoding="utf-8"))
    lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    parts = {name: int(number) for name, number in (line.split() for line in lines)}
    return allowed - used + sum(parts[name] for name in given_up)


def in_address_space() -> Iterator[int]:
    """What `ulimit -v` leaves free, if it is set."""
    if sys.platform != "win32":
        import resource

        allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
        if allowed != resource.RLIM_INFINITY:
            yield allowed - psutil.Process().memory_info().vms
