"""Both servers started and stopped by ourselves, in a folder."""
