"""The work of the commands, one file per command. The program tickstock-jobs is in workers/daily."""
