"""The family `diffusers`: any folder that diffusers can call, for every task that its class does.

One file each for loading, for the classes that share its nets, for the call itself, and for each group of tasks. The
nets, their guidance and their decoding are diffusers' own; here are the batches, seeds and steps, and what goes round
them.
"""
