"""A mixed fleet through days that were: real prices or emissions, known no sooner than they were known then."""
