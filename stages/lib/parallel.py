"""Batches computed ahead on two threads, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

WORKERS = 2  # batches in work at a time; the results do not depend on it
Batch = TypeVar("Batch")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Batch], Result], batches: Iterable[Batch]) -> Iterator[Result]:
    """Like `map`, but computes the next results while the caller uses the last one.

    >>> list(map_ahead(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        pending: deque[Future[Result]] = deque()
        for batch in batches:
            pending.append(pool.submit(function, batch))
            if len(pending) > WORKERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
