"""Settings that must precede the first import of torch, numpy or pyarrow, and imports that are avoided.

Half of the time of a run on a small corpus is Python importing libraries. `stages/__init__.py` calls
`configure` before anything else is imported. `lib/portable.py` holds what makes results equal on
every processor once torch is loaded.

What is avoided, and where:

    pandas            `block_pandas`; pyarrow would import it on its first conversion       0.3 s
    torch             not imported by stages that only score (see benchmarks/stages.md)     1.2 s
    torch.optim       `stages.classifier.Adam`; its first step imports torch's compiler     2 s
    use_deterministic_algorithms   `portable.prepare` sets the same mode without the compiler   1.5 s
    scipy.optimize, polars, dvc    imported inside the functions that need them             0.2 to 0.5 s
"""

import gc
import os
import platform
import sys


def configure() -> None:
    """Sets the environment of numerical libraries and the frequency of garbage collection."""
    # torch, and the OpenBLAS inside numpy and scipy, select the widest vector instructions of the
    # processor, and each selection rounds differently. AVX2 is on every x86-64 machine since 2013.
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ["ATEN_CPU_CAPABILITY"] = "avx2"
        os.environ["OPENBLAS_CORETYPE"] = "Haswell"
        # numpy's exp, log and power round differently with AVX-512.
        os.environ["NPY_DISABLE_CPU_FEATURES"] = "X86_V4 AVX512_ICL AVX512_SPR"
    # MKL multiplies torch's matrices; each of its modes of "reproducibility" rounds differently.
    os.environ.pop("MKL_CBWR", None)
    # OpenBLAS uses all cores even for sums, so their order would depend on the number of cores.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # OpenMP threads spin while they wait by default, which slows training severalfold on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Importing torch creates many objects and no garbage: collecting less often saves 0.1 s.
    gc.set_threshold(100_000, 20, 100)


class _NoPandas:
    """A module finder that reports pandas as not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        """Raises ModuleNotFoundError for pandas, and leaves every other module to the next finder."""
        if name == "pandas":
            raise ModuleNotFoundError(f"{name} is blocked in this process", name=name)


def block_pandas() -> None:
    """Keeps pandas out of a process that has not imported it yet.

    pyarrow otherwise imports pandas to check whether its arguments are pandas objects.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())
