"""Memory, asked for before it is taken: who wants too much is told so, and not killed."""

import psutil

from stages.lib.command import Refusal


def require_memory(needed: int, found: str, advice: str, free: int | None = None) -> None:
    """Raises Refusal where `needed` bytes are more than are `free`, in the machine's memory unless a number
    is given: what was found, and what to do."""
    if free is None:
        free = psutil.virtual_memory().available
    if needed > free:
        raise Refusal(
            f"{found} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; {advice}"
        )
