"""MQTT 3.1.1: bytes in, packets out. Knows no sockets and no clocks; QoS 0 and 1, which is all that we speak."""
