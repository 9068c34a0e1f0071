"""Thermostats, plugs and chargers over MQTT."""
