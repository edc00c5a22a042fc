"""`l2ae fit --seeds`: the same training with several seeds, and how far their clusters agree."""
