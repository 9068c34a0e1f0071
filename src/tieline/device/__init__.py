"""Tier 4: what each kind of device is and what it can be told."""
