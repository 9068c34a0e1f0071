"""Steps that bring an older data folder up to today's schema."""
