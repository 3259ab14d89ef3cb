"""One thin module per plumbing command: a protocol step, or a look-up."""
