"""The values of daily runs: trading days, the schedule, daily bars, and the application's data loads. Pure."""
