"""Studies: a grid of methods, data and seeds, each cell computed once, and the report that compares them."""
