"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one sentence that names the file, the key or line, what was expected and what to do.
    The command line prints it without a traceback and exits with status 2.
    """
