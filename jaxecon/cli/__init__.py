"""The command line.

`jaxecon.cli.app` knows all commands; each imports what it needs when it is called.
"""
