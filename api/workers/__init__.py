"""Who works, and how much waits: the operators' view of the pools."""
