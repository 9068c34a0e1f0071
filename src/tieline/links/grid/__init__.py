"""Links of tier 1 and 2: ISO web service, DNP3."""
