"""③ Frames to the partition streams: one sender, the writer of a source that can wait, and what both writers share."""
