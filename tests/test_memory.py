"""Memory: more than the free memory is refused in one line; exactly the free memory is not."""

import psutil
import pytest

from stages.lib.command import Refusal
from stages.lib.memory import require_memory


def test_only_more_than_the_free_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=2_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    require_memory(2_000_000_000, "a: found 1, which", "lower it")
    message = r"^a: found 1, which needs 3\.0 GB of memory, and 2\.0 GB are free; lower it$"
    with pytest.raises(Refusal, match=message):
        require_memory(3_000_000_000, "a: found 1, which", "lower it")


def test_the_free_memory_of_a_device_can_be_given() -> None:
    require_memory(1000, "a: found 1, which", "lower it", free=1000)
    with pytest.raises(Refusal, match="are free"):
        require_memory(1001, "a: found 1, which", "lower it", free=1000)
