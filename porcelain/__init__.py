"""One thin module per porcelain command: an intention of a person."""
