"""The Flask application: REST under /v1, event streams, the OpenAPI document and its page. Never imports torch.

Layers, from the top: `wsgi` and `gunicorn_conf` (the process), `app` (what is served), the feature rooms (`jobs`,
`events`, `uploads`, `artifacts`, `checkpoints`, `keys`, `workers`, `tasks`, `health`; each with `routes`, `schemas` and
`views`), `room` (what an endpoint is), then what every request goes through: `auth`, `limits`, `access_log`, `metrics`,
`reading`, `problems`, and below all of them `services` with the `hub`.
"""
