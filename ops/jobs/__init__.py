"""The work of the commands, one file per job."""
