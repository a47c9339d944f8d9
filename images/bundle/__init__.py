"""Everything that a site is installed from, in one archive: for machines that reach no registry."""
