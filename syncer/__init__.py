"""syncer: change feed to verified mirror."""
