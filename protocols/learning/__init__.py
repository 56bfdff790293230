"""What networks of every purpose share: how TensorFlow is begun, and the file in which trained numbers are kept."""
