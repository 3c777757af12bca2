"""The shape of every policy file, one module a file; meaning across files is checked elsewhere."""
