"""Speed, as ratios taken in one run on one machine. `python -m bench` prints them and writes out/bench.json."""
