"""NumPy float64 references, written from the papers."""
