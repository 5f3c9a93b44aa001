"""A cache of compiled programs: a second run with the same array shapes starts in seconds."""

import tempfile
import warnings
from pathlib import Path

import jax
import platformdirs

from jaxecon.core.machine import cpu_features_hash

# Options for jit(compiler_options=...) of programs that simulate days. By default XLA uses 32-byte
# vectors even on processors with 64-byte ones; with these options it uses the wider ones. They have
# no effect on other processors and on GPUs, and change no result: each agent's arithmetic is the
# same.
WIDE_VECTORS: dict[str, str | int | bool] = {"xla_cpu_prefer_vector_width": 512}

_MIN_SECONDS = 0.05  # of compilation; faster programs are not worth a file


def keep_compiled() -> str | None:
    """Keep compiled programs in the user's cache folder, which may be emptied at any time.

    The cache has one folder for each kind of CPU. The environment variable
    JAX_COMPILATION_CACHE_DIR chooses another place; JAX_ENABLE_COMPILATION_CACHE=0 turns the cache
    off. This changes a setting of JAX for the whole process, so commands call it and the library
    does not.

    Returns:
        One line for the user where the place that they chose cannot be written; else None.
    """
    # an entry that cannot be read or written only costs the time to compile again
    warnings.filterwarnings(
        "ignore", "Error (reading|writing) persistent compilation cache", UserWarning
    )
    chosen: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if chosen is not None:
        return _unwritable(chosen)
    folder = Path(platformdirs.user_cache_dir("jaxecon")) / "xla" / cpu_features_hash()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if entry.stat().st_size == 0:  # left by a process that was killed
                entry.unlink(missing_ok=True)
    except OSError:
        return None  # no place for a cache: programs are compiled every time
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return None


def _unwritable(chosen: str) -> str | None:
    if "://" in chosen:  # JAX also takes addresses of object stores
        return None
    try:
        Path(chosen).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=chosen).close()
    except OSError as error:
        return (
            f"JAX_COMPILATION_CACHE_DIR: {chosen}: cannot be written ({error.strerror}); programs "
            "are compiled every time"
        )
    return None
