"""A market's web service in the manner of ERCOT's external web services: signed SOAP, bid sets, awards, instructions.

Pure: bytes and times in, messages out. Names, shapes and operations follow the public schemas of that service; the
security is WS-Security with an X.509 token (OASIS, SOAP Message Security 1.0 and its X.509 Certificate Token Profile).
"""
