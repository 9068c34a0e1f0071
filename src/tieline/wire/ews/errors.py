"""What can be wrong with a message of a market's web service."""


class EwsError(Exception):
    """Anything that this codec raises."""


class Malformed(EwsError):
    """Bytes that are no message of ours; says which rule they break."""


class Unsigned(EwsError):
    """A message without a signature that we can trust: none, a broken one, or one by somebody else."""


class Fault(EwsError):
    """The other side answered with a SOAP fault: its code and its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
