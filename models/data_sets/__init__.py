"""A data set as a zip of pictures: which zips are taken, and what the names inside them mean.

Only the standard library: the API reads strangers' zips with it in a confined process, the worker those that were
taken. Nothing is ever unpacked to a disk; a name is a label here, and is refused where it could be more. Pixels are
not decoded here.
"""

from models.data_sets.archive import Archive, Bounds, BrokenMemberError, Member, RefusedArchiveError

__all__ = ["Archive", "Bounds", "BrokenMemberError", "Member", "RefusedArchiveError"]
