"""Repeated records: restricted likelihoods, random intercepts, unstructured covariances."""
