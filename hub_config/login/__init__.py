"""Who somebody is: the demo login, its one-time keys, and logging out."""
