"""Pictures that clients send: checked before they are decoded, and encoded again without metadata."""
