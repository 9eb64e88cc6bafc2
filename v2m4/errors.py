"""The one exception users are meant to read."""


class V2M4Error(Exception):
    """A problem the user can act on.

    The message is one or two sentences: what is wrong, with what, and what to do about it. The command line
    prints it and exits with code 2; the page shows it beside the thing it concerns.
    """


class RunStoppedError(V2M4Error):
    """The run was asked to stop; everything finished so far is kept in its folder and can be resumed."""
