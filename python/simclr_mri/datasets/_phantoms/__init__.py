"""Phantoms: heads drawn from geometry, whose anatomy, subjects and regions are known."""
