"""Models of an outcome: families, sums, fits, tests of terms."""
