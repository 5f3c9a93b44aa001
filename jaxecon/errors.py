"""Errors that a user can cause."""


class UserError(ValueError):
    """One line for the user: the setting, the value, the accepted range. Commands print it and exit with status 2."""
