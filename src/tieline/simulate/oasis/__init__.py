"""A price service in the manner of OASIS: real day-ahead prices of ERCOT, and five-minute ones made from them."""
