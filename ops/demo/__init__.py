"""The demo: a market, and a daily run over what became of it."""
