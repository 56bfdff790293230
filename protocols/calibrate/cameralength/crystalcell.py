"""placeholder"""


def of_crystal(folder, plan):
    raise NotImplementedError
