"""What the commands do, one file a command; not the program tickstock-jobs."""
