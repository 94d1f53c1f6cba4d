"""The messages on the channels. Pure."""
