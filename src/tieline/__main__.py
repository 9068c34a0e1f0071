"""`python -m tieline` is `tieline`."""

from tieline.node.cli import main

main(prog_name="tieline")
