"""Memory: a check before allocation, so that too large a choice is refused instead of the process killed."""

import psutil

from stages.lib.command import Refusal


def require_memory(needed: int, choice: str, advice: str, free: int | None = None) -> None:
    """Raises Refusal if `needed` bytes are more than `free`, by default the machine's available memory.

    The message is `choice`, which names the parameter and its value, the two amounts, and `advice`.
    """
    if free is None:
        free = psutil.virtual_memory().available
    if needed > free:
        raise Refusal(
            f"{choice} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; {advice}"
        )
