"""Whether a picture was made here."""
