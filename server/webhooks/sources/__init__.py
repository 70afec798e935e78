"""Sources that an admin creates: kept in Postgres, their secrets encrypted."""
