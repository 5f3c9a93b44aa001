"""Any server with OpenAI's interface."""
