"""One command: configuration, wiring, supervision and the CLI."""
