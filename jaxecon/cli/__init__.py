"""The command line.

`jaxecon.cli.entry` starts, `jaxecon.cli.app` lists the commands, `commands/` holds one file for
each, and `output/` prints.
"""
