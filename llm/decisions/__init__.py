"""One file for each kind of decision.

Each holds, in this order, what is observed, the chat, the schema of the answer, its parser, and the
kind itself with its fallback. `base` is the protocol and `registry` the table of kinds; `shared`,
`election`, `rate_changes`, `replies` and `history` are what several kinds share. The words of the
chats are in `templates`, and `prompts` reads them.
"""
