"""Commands that make, show and correct bars, ticks and what is found on them."""
