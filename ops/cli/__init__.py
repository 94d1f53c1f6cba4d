"""The commands, one file each: they parse and call, nothing else."""
