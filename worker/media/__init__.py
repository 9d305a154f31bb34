"""Pictures to pictures, and to films of them, by arithmetic alone: no net, no job, no service.

A picture is `(H, W, 3)` uint8 RGB, a mask `(H, W)` uint8, white for what it covers. One file each for drawing masks,
maps that lead a net, transforms of data sets, contact sheets and animations.
"""
