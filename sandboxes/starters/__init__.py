"""Starter kits: folders of notebooks, data and a small module that a company may begin with in its sandbox."""
