"""How ticks and times are written by others, and read here. Pure."""
