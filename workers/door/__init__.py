"""The front door: plain entries of `tickstock-stream`, anybody's XADD, become frames."""
