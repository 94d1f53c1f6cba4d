"""How ticks become bars: the loop over the owned partitions."""
