"""DNP3 (IEEE 1815) towards the utility's control room: an outstation that shows groups and takes limits and targets."""
