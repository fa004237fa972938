"""The one door out of a country: policy, rules, gate, wire, journal. `README.md` beside this file is the way in."""
