"""Jobs: submit, read, list, wait, cancel, retry, clone, delete, and what they made."""
