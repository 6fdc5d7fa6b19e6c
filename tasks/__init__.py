"""The work itself: plain functions on batches, without Prefect."""
