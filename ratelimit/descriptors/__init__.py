"""Limits written in envoyproxy/ratelimit's format: match, key, hit, judge, render for every domain but our own."""
