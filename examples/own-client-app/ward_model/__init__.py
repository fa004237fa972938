"""A model of our own: a network with one hidden layer, in numpy."""
