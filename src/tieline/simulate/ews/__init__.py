"""A market in the manner of ERCOT's external web services: signed SOAP over the ISO in small, and its misbehaviour."""
