"""Tier 4: device profiles as data, and what each kind of device can be told."""
