"""The only way of files into and out of a sandbox: checked on the way in, agreed by two people on the way out."""
