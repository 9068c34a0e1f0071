"""Forecasts: load by batched ridge and a global model, PV from weather, quantiles that hold, and what was known then."""
