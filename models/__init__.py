"""The network: what a model file takes and gives, how it is trained, calibrated, exported and run."""
