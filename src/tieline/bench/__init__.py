"""Every published figure, by the command that measures it."""
