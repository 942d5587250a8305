"""A reproducible companion to a set of multi-task-learning papers."""
