import pytest
from oracles.strictness import DOUBLE, SINGLE, strict


@pytest.fixture(params=[DOUBLE, SINGLE], ids=["float64", "float32"])
def precision(request):
    """Both precisions, one after the other; `x64` and `strict_numerics` follow it."""
    return request.param


@pytest.fixture(autouse=True)
def strict_numerics(request):
    """Kernel tests run strictly: in 64-bit unless they ask for `precision`."""
    x64 = request.getfixturevalue("precision").x64 if "precision" in request.fixturenames else True
    with strict(x64):
        yield
