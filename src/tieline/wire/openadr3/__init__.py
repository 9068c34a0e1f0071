"""OpenADR 3.1: its objects, checked; and its ways to say time."""
