"""Try made-up and damaged inputs on every reader: `experiments.benchmarks.fuzz`.

python -m experiments.fuzz [--minutes 10] [--readers settings,yaml] [--seed 0] [--out DIR]
[--guided]
"""

import importlib.util
import sys

if __name__ == "__main__":
    if importlib.util.find_spec("hypothesis") is None:
        sys.exit("fuzz: needs the package hypothesis (pip install hypothesis)")
    from experiments.benchmarks.fuzz import main

    main()
