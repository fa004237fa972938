"""Statistics: one file a method, both halves in it. `registry` lists them, `contract` says what a method is."""
