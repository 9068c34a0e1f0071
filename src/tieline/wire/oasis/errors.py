"""What can be wrong with a report."""


class OasisError(Exception):
    """Anything that this codec raises."""


class Malformed(OasisError):
    """Bytes that are no report; says which rule they break."""


class Refused(OasisError):
    """The service answered with an error of its own: its code and its words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code


NO_DATA, INVALID, TOO_LONG = "1000", "1015", "1004"
