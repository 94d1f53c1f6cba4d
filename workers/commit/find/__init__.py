"""⑥ ⑦ What a commit finds on its bars: histories, patterns, indicators."""
