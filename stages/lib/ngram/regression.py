"""Logistic regression on sparse inputs with a scale per input, by L-BFGS.

Reference: scikit-learn's `LogisticRegression`, which takes a second to import and has no scale per input and
logit. Test: tests/test_ngrams.py, test_the_coefficients_equal_those_of_scikit_learn.
"""

import numpy as np

from stages.lib.arrays import Float32, Float64, Int32
from stages.lib.memory import require_memory
from stages.lib.model import log_probabilities
from stages.lib.ngram.inputs import Inputs

ITERATIONS = 60  # of L-BFGS, at most: after that the loss hardly changes
MEMORY = 5  # earlier steps that L-BFGS stores; more save no time
TOLERANCE = 1e-8  # a step that lowers the loss by a smaller share is the last
ADVICE = "raise ngrams.min_df, or merge labels under `labels:` in source.yaml"
BYTES = 200  # of memory per coefficient: L-BFGS holds 2 MEMORY + 5 vectors of them, and scipy some more
ROUGH_TOLERANCE = 1e-5  # enough to compare penalties
# With more labels than these, models use the most frequent n-grams, with at most so many coefficients: 1 GB.
# With more than LARGE of them, fewer steps are stored and the tolerances are larger: a step takes a second.
MANY_LABELS, MOST_COEFFICIENTS = 32, 6_000_000
LARGE, LARGE_MEMORY, LARGE_TOLERANCE, LARGE_ROUGH_TOLERANCE = 4_000_000, 3, 1e-4, 1e-3


def most_inputs(labels: int, kinds: int = 1) -> int:
    """How many n-grams of each kind a model of so many labels may use: any number, up to MANY_LABELS.

    >>> most_inputs(32), most_inputs(1000), most_inputs(1000, kinds=2)
    (2147483647, 6000, 3000)
    """
    return 2**31 - 1 if labels <= MANY_LABELS else MOST_COEFFICIENTS // (labels * kinds)


def effort(labels: int, coefficients: int, rough: bool) -> tuple[int, float]:
    """How many steps L-BFGS stores, and its tolerance.

    >>> effort(1000, 6_000_000, rough=False)
    (3, 0.0001)
    """
    if labels > MANY_LABELS and coefficients > LARGE:
        return LARGE_MEMORY, LARGE_ROUGH_TOLERANCE if rough else LARGE_TOLERANCE
    return MEMORY, ROUGH_TOLERANCE if rough else TOLERANCE


def logistic_regression(
    inputs: Inputs,
    labels: Int32,
    scale: Float32,
    l2: float,
    weights: Float64,
    start: tuple[Float32, Float32] | None = None,
    rough: bool = False,
) -> tuple[Float32, Float32]:
    """The coefficients w (F, O) and bias (O,) with the lowest loss, for logits inputs @ (scale * w) + bias.

    `inputs` is (N, F), `labels` (N,), `scale` (F, O). The loss is the sum of the cross-entropies, each
    times its weight (N,), and l2 / 2 times the sum of squares of w. It is convex, so there is no learning
    rate, no seed and no order of batches: L-BFGS finds the minimum, from `start` or from zero; if `rough`,
    a point near it. The two sparse products add in one fixed order. Raises Refusal for lack of memory.
    """
    from scipy.optimize import minimize  # takes 0.2 s to import

    outputs = scale.shape[1]
    what = f"found {len(scale):,} n-grams, which for {max(2, outputs):,} labels"
    require_memory(BYTES * scale.size, what, ADVICE)
    steps, tolerance = effort(outputs, scale.size, rough)
    rows = np.arange(len(labels))

    def loss_and_gradient(values: Float64) -> tuple[float, Float64]:
        w = values[:-outputs].reshape(-1, outputs).astype(np.float32)
        logits = inputs.dot(scale * w).astype(np.float64) + values[-outputs:]  # (N, O)
        residuals = log_probabilities(logits)  # (N, L)
        loss = float((-residuals[rows, labels] * weights).sum())
        # The derivative of the cross-entropy by a logit: probability minus 1 for the label, else 0.
        np.exp(residuals, out=residuals)
        residuals[rows, labels] -= 1
        residuals = residuals[:, -outputs:] * weights[:, None]  # (N, O)
        gradient = scale * inputs.transposed_dot(residuals.astype(np.float32))  # (F, O)
        return (
            loss + l2 / 2 * float(values[:-outputs] @ values[:-outputs]),
            np.concatenate([gradient.ravel() + l2 * values[:-outputs], residuals.sum(0)]),
        )

    result = minimize(
        loss_and_gradient,
        np.zeros(scale.size + outputs) if start is None else np.concatenate([p.ravel() for p in start]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "maxcor": steps, "ftol": tolerance, "gtol": 1e-6},
    ).x.astype(np.float32)
    return result[:-outputs].reshape(-1, outputs), result[-outputs:]
