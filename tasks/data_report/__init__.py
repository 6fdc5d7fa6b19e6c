"""What there is to learn from, what of it can hardly work, and which labels someone should look at."""
