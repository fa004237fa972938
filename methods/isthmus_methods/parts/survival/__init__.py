"""Times to an event: risk sets, curves, partial likelihoods, competing causes."""
