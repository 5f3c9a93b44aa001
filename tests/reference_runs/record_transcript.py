"""Writes smollm2.sqlite, the answers of a real model that the case `replayed` goes by.

    PYTHONPATH=.:tests python -m reference_runs.record_transcript

Needed again only where prompts, schemas or sampling have been changed on purpose.
"""

import shutil
import tempfile
from pathlib import Path

from reference_runs.cases import SMOLLM2, TRANSCRIPT

import jaxecon as je


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = je.run(SMOLLM2, out=Path(folder) / "run")
        print(run.manifest["summary"]["llm"])
        shutil.copyfile(run.path / "transcript.sqlite", TRANSCRIPT)


if __name__ == "__main__":
    main()
