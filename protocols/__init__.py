"""What the experiments are: one folder per experiment, with its machine, its plan and its results."""
