"""Any server with OpenAI's interface (vllm serve, Ollama, a cloud API).

`engine` implements the Engine protocol with a thread of its own; `batch` sends and retries requests
by the HTTP of `transport`; `probing` makes the first contact. `server` holds what has been learned
about the server, `request_format` which requests it accepts, `failure` what its errors mean,
`complaint` what a server says of its own in them, `refusals` what that is about,
`rate_limit` how fast it may be asked, and `address` its address and key. `redaction` keeps the key
out of every text, and `completion` reads replies.
"""
