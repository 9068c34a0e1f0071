"""Modbus TCP: bytes in, frames and requests out. Knows no sockets and no clocks."""
