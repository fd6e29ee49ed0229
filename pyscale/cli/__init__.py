"""The command line: ``pyscale demo``, ``compare``, ``train``, ``profile``, ``doctor``."""
