"""Trusted datasets and models: origin, licence, checks, datasheets."""
