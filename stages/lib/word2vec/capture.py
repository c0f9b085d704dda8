"""Capture: the steps of a chunk recorded once and replayed as one call, with the same bytes.

Only one thread at a time runs Python, so workers that return to Python after every operation wait for
each other; that was a fifth of skip-gram's time. A GPU waits for Python most of the time.

Reference: `run_steps` in lib/word2vec/gradients.py. Test: tests/test_word2vec.py,
test_a_replay_equals_the_captured_operations.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stages.lib.word2vec.gradients import negative_sampling, run_steps
from stages.lib.word2vec.steps import Step

Replay = Callable[..., Tensor]  # takes both tables and the tensors of a chunk


def capture(table: Tensor, out: Tensor, chunk: Step, count: int, with_loss: bool) -> Replay:
    """`run_steps` with negative sampling, to be replayed on other chunks of the same shapes.

    What is not a tensor keeps the value that it has in `chunk`.
    """
    return (_capture_graph if table.is_cuda else _capture_trace)(table, out, chunk, count, with_loss)


def _capture_trace(table: Tensor, out: Tensor, chunk: Step, count: int, with_loss: bool) -> Replay:
    """`capture` on a CPU: a trace, which runs on any tables."""
    fields = chunk.tensors()

    def traced(table: Tensor, out: Tensor, *tensors: Tensor) -> Tensor:
        replaced: dict[str, Any] = dict(zip(fields, tensors, strict=True))
        return run_steps(table, out, chunk._replace(**replaced), count, negative_sampling, with_loss)

    with warnings.catch_warnings():
        # The warnings are about fixed shapes, which are intended, and about torch.jit being deprecated
        # in favour of torch.compile, which needs a C++ compiler.
        warnings.simplefilter("ignore")
        example = (table.clone(), out.clone(), *fields.values())
        replay: Replay = torch.jit.trace(traced, example, check_trace=False)  # type: ignore[no-untyped-call]
    return replay


def _capture_graph(table: Tensor, out: Tensor, chunk: Step, count: int, with_loss: bool) -> Replay:
    """`capture` on a GPU: a CUDA graph, which runs on these very tables, and on the memory of its own chunk,
    to which the tensors of another are copied."""
    buffers: dict[str, Any] = {name: field.clone() for name, field in chunk.tensors().items()}
    captured = chunk._replace(**buffers)
    # A first call sets up what cannot be set up during capture.
    run_steps(table.clone(), out.clone(), captured, count, negative_sampling, with_loss)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        value = run_steps(table, out, captured, count, negative_sampling, with_loss)

    def replay(_: Tensor, __: Tensor, *tensors: Tensor) -> Tensor:
        for buffer, field in zip(buffers.values(), tensors, strict=True):
            buffer.copy_(field)
        graph.replay()
        return value

    return replay
