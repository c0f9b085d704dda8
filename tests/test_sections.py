"""The `Params` of a stage, taken out of its file."""

from importlib import import_module

import pytest

from stages import STAGES
from stages.lib.sections import params_of


@pytest.mark.parametrize("stage", STAGES)
def test_params_taken_out_of_the_file_are_those_of_the_module(stage: str) -> None:
    imported = import_module(f"stages.{stage}").Params
    taken = params_of(stage)
    assert taken is not imported
    assert taken.model_json_schema() == imported.model_json_schema()
