"""What can go wrong, one class for each thing that somebody can do about it."""


class Error(Exception):
    """Anything that Tieline raises on purpose."""


class PeerError(Error):
    """The other side broke its protocol: close, count, tell the operator."""


class LinkDown(Error):
    """The connection is gone: wait and retry, after so many seconds where the peer asked for that (`after_s`)."""

    after_s: float | None = None


class ConfigError(Error):
    """A setting that an operator must mend; the message names its path, the value and the limit."""


class Unrecordable(Error):
    """Text or a number that no record can hold: the act is refused alone, nothing of it was done, all else goes on."""


class Infeasible(Error):
    """No answer meets every constraint; the message names those that clash."""


class InvariantError(Error):
    """Our own bug: the task dies and its state is rebuilt from the journal."""
