"""Frozen dataclasses that are JAX pytrees and validate on construction, never on unflattening."""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

T = TypeVar("T")


def static(*, default: Any = dataclasses.MISSING) -> Any:
    """A field that is part of the compiled program, not an array."""
    return dataclasses.field(default=default, metadata={"static": True})


def stored_as(name: str, **options: Any) -> Any:
    """A field that has an older name in checkpoints.

    A run's digest, which people write down, depends on the names of its state's arrays. Messages
    and differences between runs show the stored name too.
    """
    return dataclasses.field(metadata={"stored_as": name}, **options)


def marked(*marks: str) -> Any:
    """A field without a default, whose metadata holds these marks for other code to read."""
    return dataclasses.field(metadata=dict.fromkeys(marks, True))


@dataclass_transform(frozen_default=True, field_specifiers=(static, stored_as, marked))
def pytree(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass registered as a pytree.

    JAX rebuilds a pytree around tracers and placeholders, so `__post_init__` (where a user's values
    are checked) must not run then: unflattening sets the fields directly.
    """
    # eq=False: arrays have no truth value to compare by
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    dynamic = [f for f in fields if not f.metadata.get("static")]
    leaves = tuple(f.name for f in dynamic)
    keys = tuple(jax.tree_util.GetAttrKey(f.metadata.get("stored_as", f.name)) for f in dynamic)
    assert len(set(keys)) == len(keys), f"{cls.__name__}: two fields are stored under one name"
    statics = tuple(f.name for f in fields if f.metadata.get("static"))

    def flatten(obj: T) -> tuple[tuple[object, ...], tuple[object, ...]]:
        return tuple(getattr(obj, n) for n in leaves), tuple(getattr(obj, n) for n in statics)

    def flatten_with_keys(obj: T) -> tuple[tuple[tuple[object, object], ...], tuple[object, ...]]:
        children, aux = flatten(obj)
        return tuple(zip(keys, children, strict=True)), aux

    def unflatten(aux: tuple[object, ...], children: Iterable[Any]) -> T:
        obj = object.__new__(cls)
        for name, value in zip(leaves + statics, (*children, *aux), strict=True):
            object.__setattr__(obj, name, value)
        return obj

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def floating(x: ArrayLike) -> jax.Array:
    """Return x as a floating-point array: integers become floats, floats keep their dtype."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def shown(values: np.ndarray, wrong: np.ndarray) -> str:
    """The values as text for an error message; of more than 16, only the first wrong one."""
    if values.size <= 16:
        return f"{values.tolist()}"
    count = int(np.sum(wrong))
    first = np.argwhere(wrong)[0].tolist()
    return f"{values[tuple(first)]} at index {', '.join(map(str, first))}" + (
        f" (and {count - 1} more)" if count > 1 else ""
    )


def concrete(value: object) -> np.ndarray | None:
    """The value as a NumPy array, for validation; None if it is traced."""
    if isinstance(value, jax.core.Tracer):
        return None
    return np.asarray(value)


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by dotted path; Python numbers stay as they are."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree.leaves_with_path(tree)
    }
