"""Live connections: transport and library, translated to the desk's ports."""
