"""The front door turns the plain entries of `tickstock-stream`, which any client may XADD, into frames."""
