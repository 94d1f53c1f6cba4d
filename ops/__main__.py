"""`python -m tickstockpl.ops worker|producer|…`: every command under one module, for processes that start others."""

from .entry import every_command

if __name__ == "__main__":
    every_command()
