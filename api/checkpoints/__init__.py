"""The registry of checkpoints, read by everybody and changed by admins."""
