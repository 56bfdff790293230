"""What the defocused disc tells: how the stage's nm become pixels (`snapshot`), and how many electrons there are
(`flux`).
"""
