"""The one exception of this room that a user can mend."""


class ClusterError(Exception):
    """A cluster that cannot be reached or does not allow what was asked.

    The message is one sentence that says what was tried, what was found and what to do; the command line prints it
    without a traceback and exits with status 2.
    """
