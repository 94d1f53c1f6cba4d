"""Commands for the channels and the vendor's protocol."""
