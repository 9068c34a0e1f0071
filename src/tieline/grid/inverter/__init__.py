"""The grid-support functions of IEEE 1547-2018: settings, one unit as their specification, and columns of a million."""
