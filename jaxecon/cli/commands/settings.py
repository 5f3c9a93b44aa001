"""`jaxecon settings`. Imports the settings (pydantic) when it is called."""


def settings() -> None:
    """Print all settings: default, accepted values, meaning."""
    from jaxecon.cli.output.printable import say
    from jaxecon.config.describe import describe

    for line in describe():
        say(line)
