"""Pictures of a fleet's day."""
