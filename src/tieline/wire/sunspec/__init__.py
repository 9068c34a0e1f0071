"""SunSpec: the information models over Modbus registers, in SI."""
