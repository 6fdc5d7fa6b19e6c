"""Side-by-side runs against other ways of doing the same work. Each prints ratios of medians, measured in one run."""
