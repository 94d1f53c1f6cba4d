"""The bytes of one stream entry, and the columns beside its block. Pure."""
