"""Tier 3: from a setpoint to device actions within the occupant's bounds."""
