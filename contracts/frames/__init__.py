"""The bytes of one stream entry: a block of columns, and the columns outside it. Pure."""
