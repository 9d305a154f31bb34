"""Pure metrics of pictures: numbers and hashes from `(H, W, 3)` uint8 RGB, one file each.

Nothing here knows of jobs, files or nets; what needs a net (text-image score, safety) is a pipeline's business.
"""
