"""The screen: HTTP API, live stream and pages."""
