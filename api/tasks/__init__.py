"""What can be asked for: the tasks and the JSON schemas of their params."""
