"""`python -m tieline` is `tieline`."""

from tieline.rim.leaving import Leaving

_LEAVING = Leaving()  # before the verbs and what they need are imported


def run() -> None:
    """Run the command line, and leave at once when it is done."""
    from tieline.node.cli import main

    _LEAVING.run(lambda: main(prog_name="tieline"))


if __name__ == "__main__":
    run()
