"""Embedded mode: both servers are started and stopped by us, in a data folder."""
