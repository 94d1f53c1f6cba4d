"""Workers: ticks become bars, patterns and events, partition by partition."""
