"""Encoding, storing and publishing, in a process of its own: off the device's path and away from its GIL.

`client` lives in the worker: it hands pictures over and keeps them until they are acknowledged. `python -m
worker.courier` is the process: `frames` is what they say to each other, `encode` makes files of pixels, `put` sends
them to S3, `service` publishes. Only `client` may be imported where torch is; nothing here imports torch.
"""
