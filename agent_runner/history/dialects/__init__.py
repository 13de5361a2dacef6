"""Renderings of the normal form, one module per family of wire formats. Each is a pure function."""
