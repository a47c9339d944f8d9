"""Starting, stopping and examining everything that makes up one running site."""
