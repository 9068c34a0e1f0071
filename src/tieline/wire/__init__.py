"""Protocol cores: bytes in, events out. Independent of Tieline and of each other."""
