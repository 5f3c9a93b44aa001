"""Pure functions of arrays: taxes, preferences, labour, welfare.

They work under jit, vmap and grad.
"""
