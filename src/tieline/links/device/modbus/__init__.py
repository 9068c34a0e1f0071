"""SunSpec devices over Modbus TCP."""
