"""Experiments and benchmarks on jaxecon. `jaxecon experiment NAME` runs one: the questions are in
questions/, what they share in suite/, pages written from their results in pages/. benchmarks/ are
programs of their own, examples/ configurations to start from, results/ the committed tables.
"""

# Another package may bring a top-level module `experiments` too; core.installation looks for this.
SUITE_OF = "jaxecon"
