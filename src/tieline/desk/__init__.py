"""Dispatch and scheduling decisions: the only place that changes state, and the ports that the rim implements."""
