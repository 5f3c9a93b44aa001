"""What this machine's CPU and memory offer an engine."""

from pathlib import Path

from jaxecon.core.errors import UserError

GIB = 2**30


def cpu_dtype() -> str:
    """The faster floating-point type on this CPU.

    bfloat16 is 2.6 times as fast as float32 on CPUs that multiply it, and a quarter as fast on
    others.
    """
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    return "bfloat16" if {"amx_bf16", "avx512_bf16"} & set(flags.split()) else "float32"


def free_memory_share(kv_cache_gib: float) -> float:
    """The share of all memory that an engine may take: most of what is free.

    Raises UserError where that is too little for its cache of `kv_cache_gib` GiB.
    """
    import psutil

    memory = psutil.virtual_memory()
    if memory.available < (kv_cache_gib + 1) * GIB:
        free = memory.available / GIB
        raise UserError(
            f"llm.kv_cache_gib: {kv_cache_gib} needs {kv_cache_gib + 1:.1f} GiB with the engine "
            f"itself, {free:.1f} are free"
        )
    return float(round(0.8 * memory.available / memory.total, 3))
