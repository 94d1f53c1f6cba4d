"""What we say on the channels. Pure."""
