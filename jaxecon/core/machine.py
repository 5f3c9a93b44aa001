"""The properties of this machine on which results depend."""

import hashlib
import platform
from importlib import metadata
from pathlib import Path


def package_version(name: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def cpu_model() -> str:
    """The CPU's name, as reported by the operating system."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_features_hash() -> str:
    """A hash of the CPU's instruction set: sixteen hexadecimal digits."""
    return hashlib.sha256(" ".join(sorted(_cpuinfo("flags").split())).encode()).hexdigest()[:16]
