"""A company's sealed environment, from request to proven erasure, and its starter kits."""
