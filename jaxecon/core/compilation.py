"""Compiled programs are kept on disk: a second run of the same shapes starts in seconds."""

import warnings
from pathlib import Path

import jax
import platformdirs

from jaxecon.core.machine import cpu_features_hash

# For jit(compiler_options=...) of programs that simulate days. XLA takes 32-byte vectors on
# processors that have 64-byte ones; where there are none, and on GPUs, this changes nothing. No
# result changes: every agent's arithmetic is the same.
WIDE_VECTORS: dict[str, str | int | bool] = {"xla_cpu_prefer_vector_width": 512}

_MIN_SECONDS = 0.05  # of compilation that are worth a file


def keep_compiled() -> None:
    """Keep compiled programs in the user's cache folder, which may be emptied at any time.

    It has one folder for each kind of CPU. JAX_COMPILATION_CACHE_DIR chooses another place,
    JAX_ENABLE_COMPILATION_CACHE=0 none at all. This is a setting of JAX for the whole process, so
    that commands call it and the library does not.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    folder = Path(platformdirs.user_cache_dir("jaxecon")) / "xla" / cpu_features_hash()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.stat().st_size == 0:  # a process that was killed before it could write it
                entry.unlink(missing_ok=True)
    except OSError:
        return  # nowhere to keep them: they are compiled every time
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # an entry that cannot be read or written costs the time to compile, and nothing else
    warnings.filterwarnings(
        "ignore", "Error (reading|writing) persistent compilation cache", UserWarning
    )
