"""Memory, asked for before it is taken: who wants too much is told so, and not killed."""

import psutil

from stages.lib.command import Refusal


def require_memory(needed: int, found: str, advice: str) -> None:
    """Raises Refusal where `needed` bytes are more than are free: what was found, and what to do."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise Refusal(
            f"{found} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; {advice}"
        )
