"""What nobody foresaw: one sentence for the visitor, the whole story in the server's log, one short name for both."""

from __future__ import annotations

import logging
import secrets

from v2m4.errors import V2M4Error

_log = logging.getLogger(__name__)


def explained(error: Exception, doing: str) -> V2M4Error:
    """``error`` itself where users can act on it; else an error that names the entry of the log it was written to.

    doing: what was being done, for the log.
    """
    if isinstance(error, V2M4Error):
        return error
    name = secrets.token_hex(3)
    _log.error("mishap %s: %s", name, doing, exc_info=error)
    return V2M4Error(
        f"Something went wrong inside ({type(error).__name__}). Please try again; if it happens twice, report it as "
        f"“{name}”: under that name the server's log has what happened."
    )
