"""The timeframes: their names, and the minutes of one intraday bar. Pure."""

# A bar of N minutes starts at a whole multiple of N minutes since 1970 (UTC).
INTRADAY = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "hourly": 60}
TIMEFRAME_OF = {minutes: name for name, minutes in INTRADAY.items()}
HIGHER = tuple(minutes for minutes in INTRADAY.values() if minutes > 1)

LONGER = ("daily", "weekly", "monthly")  # of the daily run: bars of one market day, of a week from Monday, of a month
