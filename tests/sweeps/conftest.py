"""Shared fixtures of sweeps."""

import pytest
from support.sweeps import swept


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The finished sweep of DESIGN; tests do not change its folder."""
    return swept(tmp_path_factory.mktemp("sweep") / "whole")


@pytest.fixture
def lm():
    """A design of two points with language models."""
    run = {
        "years": 2,
        "year": {"days": 2},
        "population": {"mechanical": 4, "llm": 2},
        "llm": {"engine": "simulated"},
    }
    return {"run": run | {"planner": {"compared_with": ["us_federal"]}}, "seeds": 2}
