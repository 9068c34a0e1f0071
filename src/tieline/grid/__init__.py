"""Tier 1: topology, limits, power flow, operating envelopes."""
