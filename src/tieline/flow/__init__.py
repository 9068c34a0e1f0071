"""What passes between tiers: recorded facts, their causes, the journal port and replay."""
