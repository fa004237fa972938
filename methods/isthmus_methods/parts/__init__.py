"""What methods are made of: likelihoods, risk sets, curves, counts, inference. No method stands here."""
