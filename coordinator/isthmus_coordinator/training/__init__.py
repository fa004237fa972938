"""The pooled half of a training: a strategy in a process of its own, asked round by round."""
