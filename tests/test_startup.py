"""Startup: settings that precede the first import, and libraries that a stage does not import."""

import json
import os
import platform
import subprocess
import sys

import pytest

from stages import STAGES
from tests.conftest import ROOT

HEAVY = ("torch", "sklearn", "pandas", "scipy", "polars", "matplotlib", "tokenizers", "requests")
# The libraries that a stage needs before its main runs; each costs 0.1 to 2 seconds.
NEEDED = {
    "check": set(),
    "raw": set(),
    "tokens": {"polars"},
    "vocabulary": set(),
    "ids": set(),
    "tensors": set(),
    "embeddings": {"torch"},
    "agreement": set(),
    "projection": {"matplotlib"},
    "ngrams": {"scipy"},
    "classifier": {"torch", "scipy"},
    "ensemble": {"scipy"},
    "evaluation": {"scipy"},
    "robustness": {"scipy", "polars"},
    "explorer": {"scipy"},
    "report": {"scipy", "polars"},
}


def printed(code: str, **environment: str) -> str:
    """What a new Python process prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_the_libraries_it_needs(stage: str) -> None:
    code = (
        "import sys; from importlib import import_module; from stages.lib.startup import block_pandas;"
        f"block_pandas(); import_module('stages.{stage}'); print(*[n for n in {HEAVY} if n in sys.modules])"
    )
    assert set(printed(code).split()) <= NEEDED[stage]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="its settings are for x86-64")
def test_vector_instructions_are_fixed_whatever_the_environment_says() -> None:
    names = ("ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES")
    code = f"import json, os, stages; print(json.dumps([os.environ[name] for name in {names}]))"
    asked = {"ATEN_CPU_CAPABILITY": "avx512", "OPENBLAS_NUM_THREADS": "8", "NPY_DISABLE_CPU_FEATURES": ""}
    values = json.loads(printed(code, **asked))
    assert values == ["avx2", "Haswell", "1", "X86_V4 AVX512_ICL AVX512_SPR"]


def test_a_mode_of_mkl_that_the_user_set_changes_no_bit_of_a_product() -> None:
    code = (
        "import hashlib, stages, torch; torch.manual_seed(1);"
        "product = torch.randn(200, 100) @ torch.randn(100, 300);"
        "print(hashlib.md5(product.numpy().tobytes()).hexdigest())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert printed(code, MKL_CBWR="COMPATIBLE") == done.stdout


def test_numpy_accepts_the_names_of_the_instructions_it_must_not_use() -> None:
    assert printed("import warnings; warnings.simplefilter('error'); import stages, numpy; print(1)") == "1\n"


def test_a_setting_of_openmp_by_the_user_is_kept() -> None:
    code = "import os, stages; print(os.environ['OMP_WAIT_POLICY'])"
    assert printed(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE\n"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "PASSIVE\n"


def test_garbage_is_collected_less_often() -> None:
    assert printed("import gc, stages; print(gc.get_threshold()[0])") == "100000\n"
