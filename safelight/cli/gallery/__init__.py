"""``safelight gallery``: a picture of everything that an installation can do, and the request that made it.

`rows` says what is asked for, `making` asks, `page` writes the pictures and the page.
"""
