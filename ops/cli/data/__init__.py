"""Commands that make, show and correct ticks, bars and detections."""
