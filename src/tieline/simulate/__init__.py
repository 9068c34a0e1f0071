"""Worlds, markets, devices and a clock that speak the real wire."""
