"""The event stream of a job."""
