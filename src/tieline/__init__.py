"""Tieline: one resource, from market to device."""

__version__ = "0.1.0"
