"""Any server with OpenAI's interface (vllm serve, Ollama, a cloud API).

`engine` is the Engine protocol and its thread, `batch` sends and retries, `transport` is the HTTP;
`probing` takes a first look; `server` is what has been learned of it, `request_format` how it wants
to be asked, `failure` what its errors mean, `rate_limit` how fast it may be asked, `address` where
it is and the key, `redaction` what keeps the key out of every text, `completion` its replies.
"""
