"""`python -m tickstockpl.ops worker|producer|…`: all commands in one module, for processes that start others."""

from .entry import every_command

if __name__ == "__main__":
    every_command()
