"""How ticks come in: feeds, frames, and the writer of the partitioned stream."""
