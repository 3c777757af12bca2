"""The rate-limit service: parse, match, key, hit, judge, render."""
