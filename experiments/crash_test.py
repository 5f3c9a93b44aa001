"""Kill runs at random moments and resume them: `experiments.benchmarks.crash_test`.

python -m experiments.crash_test [--kills 25] [--signal KILL] [--kinds mechanical,simulated,replay]
[--seed 0] [--keep DIR]
"""

if __name__ == "__main__":
    from experiments.benchmarks.crash_test import main

    main()
