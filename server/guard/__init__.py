"""What protects the doors."""
