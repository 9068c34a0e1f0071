"""Optimization, scheduling and dispatch: pure maths over arrays, and forecasts."""
