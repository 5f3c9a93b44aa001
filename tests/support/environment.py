"""How the programs of tests are compiled: quickly, or as users' programs are."""

import os
import subprocess
import sys
from pathlib import Path

# Most of the time of compiling goes into making a program fast that runs for milliseconds: these
# flags save two thirds of it. With JAXECON_TESTS_OPTIMISED=1 (needed where a jaxlib does not know
# one of them) all programs of tests are compiled as users' are.
_QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
QUICK_COMPILATION = "" if os.environ.get("JAXECON_TESTS_OPTIMISED") else " ".join(_QUICK)

ROOT = Path(__file__).resolve().parents[2]


def run_optimised(module: str, *arguments: object) -> str:
    """The standard output of `python -m module`, which must succeed. Modules of tests/ count."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
