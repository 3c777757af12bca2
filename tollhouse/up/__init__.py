"""`tollhouse up`: everything on one machine, from Envoy to a sample upstream, started and stopped as one."""
