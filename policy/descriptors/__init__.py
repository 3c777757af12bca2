"""Rate-limit rules in envoyproxy/ratelimit's own format: read from files, walked by the rate-limit service."""
