"""Our own copies of the bars, unrounded: loaded for histories, and restored where they were deleted."""
