"""A million resources: the same rules as `resource`, as columns."""
