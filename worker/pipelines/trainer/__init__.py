"""Training as a job.

`family` runs it, `material` makes tensors of a data set, `methods` knows what can be trained, `state` is what survives
a lost worker, `writing` makes the new checkpoint's folder.
"""
