"""The command line on top of the two services."""
