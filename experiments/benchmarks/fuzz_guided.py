"""Let atheris look for inputs that reach code of a reader which none before reached.

python -m experiments.benchmarks.fuzz_guided READER FOLDER SECONDS

A process of its own for each reader (`fuzz --guided` starts it), which ends at the first crash and
keeps the input in FOLDER. Only the code of this project is watched.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["jaxecon", "llm"]):
    from experiments.benchmarks.fuzz_readers import check, readers


def main(name: str, folder: Path, seconds: str) -> None:
    """Try inputs on a reader, beginning with its right ones."""
    work, seeds = folder / "work", folder / "seeds"
    for made in (work, seeds):
        made.mkdir()
    reader = readers(work, [name])[name]
    for number, data in enumerate(reader.seeds):
        (seeds / str(number)).write_bytes(data)
    options = {
        "max_total_time": seconds,
        "artifact_prefix": f"{folder}/",
        "timeout": "20",
        "max_len": "4096",
        "print_final_stats": "1",
    }
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup(["fuzz", *arguments, str(seeds)], lambda data: check(reader, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
