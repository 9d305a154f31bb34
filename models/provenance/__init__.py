"""What a file says of where it comes from: stamped by the courier, read by `/v1/verify`. A claim, not a proof."""

from models.provenance.stamping import DigitalSource, Provenance, read_provenance, stamp

__all__ = ["DigitalSource", "Provenance", "read_provenance", "stamp"]
