"""How much of prompts an engine's prefix cache can serve."""

from collections.abc import Iterable, Iterator, Sequence

# tokens of a block of vLLM's cache on a CPU; its default, 128, recomputes more of each prompt's end
CPU_BLOCK = 32


def cachable_share(prompts: Iterable[Sequence[int]], block: int) -> float:
    """The share of prompt tokens in whole blocks with which an earlier prompt began too.

    Args:
        prompts: the tokens of each, in the order in which they are asked.
        block: tokens of one block of the cache.
    """
    seen: set[tuple[int, ...]] = set()
    total = allowed = 0
    for tokens in prompts:
        total += len(tokens)
        prefixes = list(_prefixes(tokens, block))
        allowed += block * sum(prefix in seen for prefix in prefixes)
        seen.update(prefixes)
    return allowed / total


def _prefixes(tokens: Sequence[int], block: int) -> Iterator[tuple[int, ...]]:
    for end in range(block, len(tokens), block):  # the last token is always computed
        yield tuple(tokens[:end])
