"""Values and names that all parts share. No socket, no file, no clock. Pure."""
