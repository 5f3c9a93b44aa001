"""A run that nothing interrupted, with which resumed, replayed and branched ones are compared."""

import pytest
from support.runs import HYBRID, MECHANICAL

import jaxecon as je


@pytest.fixture(scope="session", params=["mechanical", "hybrid"])
def config(request):
    return {"mechanical": MECHANICAL, "hybrid": HYBRID}[request.param]


@pytest.fixture(scope="session")
def whole(config, tmp_path_factory):
    """A run that nothing interrupted."""
    return je.run(config, out=tmp_path_factory.mktemp("whole") / "run")
