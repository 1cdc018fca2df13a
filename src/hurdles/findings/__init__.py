"""What hurdles found: findings, their limits, and the table of them."""
