"""A battery of hostile and faulty programs, played through the command line (README.md)."""
