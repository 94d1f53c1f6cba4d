"""The formats of ticks and times that others send, and their readers. Pure."""
