"""`credline devices check`: what connected devices really take, and what that means for a plan."""
