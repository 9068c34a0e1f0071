"""OpenADR 3.1: the VTN that we are, and the VEN at an end-point."""
