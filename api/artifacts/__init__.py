"""The pictures that jobs made: what is known of them, and where their bytes are."""
