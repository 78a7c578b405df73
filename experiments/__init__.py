"""The studies: one module each, `python -m experiments NAME`, each like a methods section."""
