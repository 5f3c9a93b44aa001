"""Documents that are generated.

docs/reproduction.md comes from the committed results (results, claims, judging, reproduction), the
table of docs/optimal-taxation.md from formulas.
"""
