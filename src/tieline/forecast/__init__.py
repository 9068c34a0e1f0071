"""Forecasts: load by ridge and a global model, PV from weather, quantiles that hold, and what was known then."""
