"""What outlives a process: rows, blobs, the ticket, and the words they are written in.

Layers, from the leaf up: `states` and `errors` (vocabulary), `settings`, `params` (one schema per task), `base` and
`session` (SQLAlchemy), `storage` (S3) and `queue` (Celery, tickets), then the feature rooms `events`, `clients`,
`artifacts`, `workers`, `checkpoints`, `jobs`. No Flask, no torch and no numpy here.
"""
