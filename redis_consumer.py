"""`python -m tickstockpl.redis_consumer [OPTIONS]`: one worker of the fleet, by the older name of tickstock-worker."""

from .ops.entry import worker

if __name__ == "__main__":
    worker()
