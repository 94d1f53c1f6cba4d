"""Commands for the channels and for the protocol of the vendor."""
