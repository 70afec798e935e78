"""What is done with stored deliveries: the worker, its effects, and how long they are kept."""
