"""Tier 2: membership, availability, offering, schedule, allocation, tracking."""
