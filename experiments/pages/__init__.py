"""Documents that are computed.

docs/reproduction.md from the committed results (results, claims, judging, reproduction) and the
table of docs/optimal-taxation.md (formulas).
"""
