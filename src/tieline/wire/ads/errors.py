"""What can be wrong with a message of the dispatch service."""


class AdsError(Exception):
    """Anything that this codec raises."""


class Malformed(AdsError):
    """Bytes that are no message of ours; says which rule they break."""


class Fault(AdsError):
    """The other side answered with a fault or an in-band error: its code and its words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
