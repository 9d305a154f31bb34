"""The Celery side: claim, run, store, publish, sweep; and what runs: pipelines, nets, training, quality. No Flask here.

A ticket wakes `tasks`, which lets `runner` claim batches until none waits. `residency` keeps checkpoints loaded,
`lease` keeps the holds alive, `courier` encodes, uploads and publishes in a process of its own, `sweeper` finds what
was lost, `webhooks` tells clients of it.
"""
