"""Errors that a user can act on."""


class UserError(Exception):
    """Something the user can mend: a file, a table, a setting, a full disk.

    The message names what was found, what was expected and what to do. `job`
    shows it without a traceback; every other exception is ours and keeps its
    traceback in the log.
    """


class SettingsError(UserError):
    """The settings or the tables cannot be used."""


class InputError(UserError):
    """A raw file is missing, cut short, or does not say what it must."""
