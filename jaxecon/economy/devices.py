"""One economy on several devices.

The agents of mechanical cohorts are divided equally among the devices; everything else is on each
device. XLA's partitioner turns the kernels, which are written for a single device, into one program
for all devices, in which sums over people are collective operations. A random draw depends on the
agent's index (`core.draws`), so each device draws for its agents what a single device would.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxecon.config.names import LLM_RULE
from jaxecon.config.settings import Config
from jaxecon.core import processes
from jaxecon.core.errors import UserError
from jaxecon.economy.state import OVER_EVERYBODY, Economy

AXIS = "agents"

_OVER_EVERYBODY = {f.name for f in dataclasses.fields(Economy) if OVER_EVERYBODY in f.metadata}

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Layout:
    """Which arrays are on which devices.

    Dictionaries whose keys are cohorts' names hold what belongs to cohorts. Below such a key, an
    array is divided among the devices by agent if its first axis (for a table, its last) has the
    cohort's size. Arrays of fields marked OVER_EVERYBODY are divided too, if the number of devices
    divides their length. All others are whole on each device.

    Attributes:
        mesh: of one axis, "agents".
        sizes: the name and the number of agents of each mechanical cohort.
    """

    mesh: Mesh
    sizes: tuple[tuple[str, int], ...]

    @cached_property
    def _size_of(self) -> dict[str, int]:
        return dict(self.sizes)

    def sharding(self, path: tuple[Any, ...], shape: tuple[int, ...]) -> NamedSharding:
        """Return the placement of a leaf of an economy, its state, a plan or results."""
        return NamedSharding(self.mesh, self._spec(path, shape))

    def _spec(self, path: tuple[Any, ...], shape: tuple[int, ...]) -> PartitionSpec:
        for key in path:
            size = self._size_of.get(key.key) if isinstance(key, jax.tree_util.DictKey) else None
            if size is not None and size in (shape[:1] + shape[-1:]):
                return (
                    PartitionSpec(AXIS)
                    if shape[0] == size
                    else PartitionSpec(*[None] * (len(shape) - 1), AXIS)
                )
        marked = any(getattr(key, "name", None) in _OVER_EVERYBODY for key in path)
        divides = marked and len(shape) == 1 and shape[0] % self.mesh.size == 0
        return PartitionSpec(AXIS) if divides else PartitionSpec()

    def described(self, tree: Tree) -> Tree:
        """Return the tree with JAX arrays (or shapes) replaced by their shapes and shardings."""

        def describe(path: tuple[Any, ...], x: Any) -> Any:
            if not isinstance(x, jax.Array | jax.ShapeDtypeStruct):
                return x
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.sharding(path, x.shape))

        return jax.tree.map_with_path(describe, tree)

    def constrained(self, tree: Tree) -> Tree:
        """Place the results of a function that is being traced."""

        def constrain(path: tuple[Any, ...], x: Any) -> Any:
            if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                return x
            return jax.lax.with_sharding_constraint(x, self.sharding(path, x.shape))

        return jax.tree.map_with_path(constrain, tree)

    def placed(self, tree: Tree) -> Tree:
        """Return the tree with its JAX arrays on this layout's devices.

        Before, each is whole in every process, or on some devices.
        """

        def place(path: tuple[Any, ...], x: Any) -> Any:
            if not isinstance(x, jax.Array):
                return x
            sharding = self.sharding(path, x.shape)
            if x.sharding.is_equivalent_to(sharding, x.ndim):
                return x
            whole = on_host(x)
            return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

        return jax.tree.map_with_path(place, tree)


def layout_for(config: Config) -> Layout | None:
    """Return the layout that the setting `devices` asks for; None for one device.

    Raises UserError if JAX finds fewer devices than asked for, if no cohort is mechanical, or if
    the size of a mechanical cohort is not a multiple of the number of devices; with several
    processes also for a language model, or for fewer devices than the processes have together.
    """
    here = _visible(config)
    count = device_count(config)
    if processes.has_several_processes():
        if config.needs_engine:
            raise UserError(
                "--join-processes: language models work in one process; set population.llm=0, or "
                "run it in one process"
            )
        if count < len(here):
            raise UserError(
                f"devices: {count}; {jax.process_count()} processes use all that they have: give "
                f"{len(here)}, or all"
            )
    elif count == 1:
        return None
    sizes = tuple((c.name, c.size) for c in config.cohorts if c.rule != LLM_RULE)
    if not sizes:
        raise UserError(
            f"devices: {config.devices}; only mechanical cohorts are spread over devices, and "
            "there is none: give 1"
        )
    for name, size in sizes:
        if size % count:
            raise UserError(
                f"devices: {count}; cohort {name} has {size} agents, which is no multiple of "
                f"{count}: give it {size + -size % count}, or other devices"
            )
    return Layout(Mesh(np.asarray(here[:count]), (AXIS,)), sizes)


def device_count(config: Config) -> int:
    """Return how many devices the setting `devices` asks for.

    Raises UserError if JAX finds fewer.
    """
    here = len(_visible(config))
    count = here if config.devices == "all" else config.devices
    if count > here:
        kind = "CPU devices" if config.device == "cpu" else "devices"
        raise UserError(
            f"devices: {count}; JAX finds {here} {kind}: give "
            f"1{f' to {here}' if here > 1 else ''}, or all"
        )
    return count


def _visible(config: Config) -> list[jax.Device]:
    return jax.devices("cpu") if config.device == "cpu" else jax.devices()


def layout_of(economy: Economy) -> Layout | None:
    """Return the layout of an economy's arrays; None on one device."""
    sizes = tuple((name, economy.cohorts[name].size) for name, _ in economy.rules)
    sharding = economy.cohorts[sizes[0][0]].skill.sharding if sizes else None
    if not isinstance(sharding, NamedSharding) or sharding.mesh.axis_names != (AXIS,):
        return None
    assert isinstance(sharding.mesh, Mesh)
    return Layout(sharding.mesh, sizes)


def compiled(
    function: Callable[..., Any],
    *,
    static_argnums: tuple[int, ...] = (),
    donate_argnums: tuple[int, ...] = (),
    compiler_options: dict[str, str | int | bool] | None = None,
) -> Any:
    """Compile a function with `jax.jit` and place its results as a Layout says.

    The compiled function takes the layout, or None, before the function's own arguments.
    """

    @wraps(function)
    def laid_out(layout: Layout | None, *args: Any, **named: Any) -> Any:
        results = function(*args, **named)
        return results if layout is None else layout.constrained(results)

    del laid_out.__wrapped__  # its signature lacks the layout
    return jax.jit(
        laid_out,
        static_argnums=(0, *(i + 1 for i in static_argnums)),
        donate_argnums=tuple(i + 1 for i in donate_argnums),
        compiler_options=compiler_options,
    )


def on_host(x: Any) -> np.ndarray:
    """Return the whole array, wherever its parts are. With several processes all must call this."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable and not x.is_fully_replicated:
        x = multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)


def unplaced(tree: Tree) -> Tree:
    """Return the tree with each array that is on several devices put together in one piece.

    Such an array is then bound to no device and can be combined with any other.
    """

    def one_piece(x: Any) -> Any:
        return (
            jnp.asarray(on_host(x))
            if isinstance(x, jax.Array) and len(x.sharding.device_set) > 1
            else x
        )

    return jax.tree.map(one_piece, tree)


@contextmanager
def gathered(economy: Economy) -> Iterator[Economy]:
    """Yield the economy in one piece, for computations over everybody that happen once per run.

    An economy on several devices may be too large for any of them. It is copied to this process's
    memory, and the block computes on the CPU.
    """
    if layout_of(economy) is None:
        yield economy
        return
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield unplaced(economy)
