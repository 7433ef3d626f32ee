from numpy import ndarray

OPERATIONS: str

def run(in_double: bool, steps: bytes, places: int, block: int, /, *arrays: ndarray) -> bool: ...
