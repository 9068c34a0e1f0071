"""An ISO in small: clears our offers on real ERCOT prices, dispatches every five minutes, and misbehaves on demand."""
