"""What operators and admins did."""
