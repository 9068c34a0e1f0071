"""Links of tier 3 and 4: SunSpec Modbus, MQTT."""
