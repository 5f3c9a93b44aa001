"""The bridge between the economy and language models.

It imports jaxecon; in jaxecon only `simulation.language` imports it, where a run has a model.
"""

# other packages bring a top-level module `llm` too; jaxecon.core.installation looks for this
BRIDGE_OF = "jaxecon"
