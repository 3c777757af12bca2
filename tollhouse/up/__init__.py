"""`tollhouse up`: everything on one machine, from Envoy to a sample upstream, started and stopped as one."""

from tollhouse.up.run import run_up

__all__ = ["run_up"]
