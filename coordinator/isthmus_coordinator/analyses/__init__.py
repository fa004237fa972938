"""From a request to a result: rounds, answers, deadlines, missing countries, going on after a restart."""
