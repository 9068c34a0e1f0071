"""There is only one resource: identity, rating, points, quality, claims, arbitration, commands, reservations."""
