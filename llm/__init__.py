"""The bridge between the economy and language models.

Imports jaxecon; only jaxecon/api.py and jaxecon/cli.py import it, lazily.
"""

# other packages bring a top-level module `llm` too; jaxecon.api.check_bridge looks for this
BRIDGE_OF = "jaxecon"
