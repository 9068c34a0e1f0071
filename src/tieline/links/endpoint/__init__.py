"""Links of tier 2 and 3: OpenADR."""
