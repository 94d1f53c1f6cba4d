"""What is said of the daily half: days of trading, the schedule, and jobs that others ask for. Pure."""
