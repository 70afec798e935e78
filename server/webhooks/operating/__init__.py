"""Operating: deliveries listed, searched, shown and handled again, by API and command line."""
