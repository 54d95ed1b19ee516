"""Partners, their agreements and their access: who may act, and at which prices."""
