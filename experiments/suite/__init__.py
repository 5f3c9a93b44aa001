"""What an experiment is, how it is run, and what it leaves.

Designs by name (registry), the command's work (conduct, checks), what a question's module works
with (study, panels), rows sorted into arms (arms), statistics of paired arms (statistics), and the
tables, figures and report that come out (tables, wording, figures, report).
"""
