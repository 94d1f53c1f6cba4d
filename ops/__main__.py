"""`python -m tickstockpl.ops worker|producer|…`: every command under one module, for processes that start others."""

from .cli import bridge, producer, tickstock, worker

tickstock.add_command(worker, "worker")
tickstock.add_command(bridge, "bridge")
tickstock.add_command(producer, "producer")

if __name__ == "__main__":
    tickstock()
